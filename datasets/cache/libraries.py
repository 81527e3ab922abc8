"""The libraries that decode clips: noted beside a cache, because another version may give slightly other bytes."""

from collections.abc import Iterable
from importlib import import_module

MEDIA = ("av", "cv2", "numpy", "scipy")
FFMPEG = ("libavcodec", "libavformat", "libavutil", "libswresample", "libswscale")  # av brings or finds them


def versions(modules: Iterable[str]) -> str:
    """'av 18.1.0, libavcodec 62.28.102, ..., numpy 2.4.6' of the modules as installed."""
    found: list[str] = []
    for name in modules:
        try:
            module = import_module(name)
        except ImportError:
            found.append(f"no {name}")
            continue
        found.append(f"{name} {module.__version__}")
        parts = getattr(module, "library_versions", {})
        found += [f"{part} {'.'.join(map(str, parts[part]))}" for part in FFMPEG if part in parts]
    return ", ".join(found)
