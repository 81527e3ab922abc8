"""The libraries that decode clips: recorded with a cache, because other versions may give slightly other bytes."""

from collections.abc import Iterable
from importlib import import_module

MEDIA = ("av", "cv2", "numpy", "scipy")
FFMPEG = ("libavcodec", "libavformat", "libavutil", "libswresample", "libswscale")  # the libraries that av uses


def versions(modules: Iterable[str]) -> str:
    """The versions of the installed modules, such as 'av 18.1.0, libavcodec 62.28.102, ..., numpy 2.4.6'.

    >>> versions(["no_such_module"])
    'no no_such_module'
    """
    installed: list[str] = []
    for name in modules:
        try:
            module = import_module(name)
        except ImportError:
            installed.append(f"no {name}")
            continue
        installed.append(f"{name} {module.__version__}")
        parts = getattr(module, "library_versions", {})
        installed += [f"{part} {'.'.join(map(str, parts[part]))}" for part in FFMPEG if part in parts]
    return ", ".join(installed)
