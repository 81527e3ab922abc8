"""`mcr-bench new`: a working file of the user's own and its test, written from the files of the example package."""

import keyword
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import mcr_bench
from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.catalog.kind_of_file import Kind
from mcr_bench.bench.catalog.method_form import require_name
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.errors import UserError
from mcr_bench.methods.base import PLACEHOLDER

EXAMPLES = Path(mcr_bench.__file__).parent / "examples"
PACKAGE = "mcr_bench_example"


@dataclass(frozen=True)
class Example:
    """A file of the example package.

    name: what users call it.
    cls: the class that it defines.
    """

    name: str
    cls: str

    @property
    def module(self) -> str:
        """The name of the file without its suffix."""
        return _module(self.name)


OF_KIND: dict[Kind, Example] = {
    "method": Example("focused", "Focused"),
    "dataset": Example("tones", "Tones"),
    "encoder": Example("mean-steps", "MeanSteps"),
    "fusion": Example("unit-sum", "UnitSum"),
}
# What the card of a new file must not say in its author's name, with what it says until they have replaced it.
UNSTATED: dict[Kind, tuple[tuple[str, str], ...]] = {
    "method": (
        (r" = Reference\(.*\)", f' = Reference("{PLACEHOLDER}: the title", "{PLACEHOLDER}: the venue and the year")'),
        (r"deviations = \(.*\)", f'deviations = ("{PLACEHOLDER}: how it differs from the official code",)'),
    )
}
DATASET = "--dataset synthetic"  # what a method or a net is tried on
OWN_SET = ("my-set", "tone")  # a set as `new dataset` writes it, and its modality of sequences (T, C)
RUN = "mcr-bench run --methods {methods} {data} --seeds 1 --set epochs=2"
SET: dict[Kind, str] = {
    "encoder": " --set encoder.kind={file}:{cls}",
    "fusion": " --set model.fusion={file}:{cls}",
}


def write_new(kind: Kind, name: str, folder: Path) -> Path:
    """Write FOLDER/NAME.py and FOLDER/test_NAME.py, and return the first. UserError if one exists, or for a wrong name.

    Hyphens of the name are underscores in the names of files. If writing is interrupted, no file is left.
    """
    file = folder / f"{_module_of(kind, name)}.py"
    test = file.with_name(f"test_{file.name}")
    for path in (file, test):
        if path.exists():
            raise UserError(f"'{path}' exists, and nothing is overwritten. Choose another name, or delete it.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--folder '{folder}' is not a folder.")
    _write({file: text_of(kind, name), test: text_of(kind, name, test=True)})
    return file


def text_of(kind: Kind, name: str, test: bool = False) -> str:
    """The text of a new file, or of its test: that of the example, with the user's name instead of its own."""
    example, mine = OF_KIND[kind], Example(name, class_name(name))
    text = _places(example)[test].read_text(encoding="utf-8")
    for old, new in (
        (re.escape(f"{PACKAGE}.{example.module}"), mine.module),
        (rf'"{example.name}(?=[" ])', f'"{mine.name}'),
        (rf"\b{example.cls}\b", mine.cls),
        *UNSTATED.get(kind, ()),
    ):
        text = re.sub(old, new, text)
    return text


def class_name(name: str) -> str:
    """The name of the class of something with that name.

    >>> class_name("my-first_method")
    'MyFirstMethod'
    """
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_]", name))


def next_steps(kind: Kind, file: Path, baseline: str) -> str:
    """What to do with a file that was just written; baseline: the method that it is tried with."""
    place = str(file) if file.is_absolute() else f"./{file}"
    test = file.with_name(f"test_{file.name}")
    cls = next(iter(re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)))
    methods = f"{baseline},{place}" if kind == "method" else baseline
    data = f"--dataset {place}" if kind == "dataset" else DATASET
    run = RUN.format(methods=methods, data=data) + SET.get(kind, "").format(file=place, cls=cls)
    steps = (f"mcr-bench describe {place}", run, f"mcr-bench check {place}", f"pytest {test}")
    told = [f"{place} and {test} are written. Next:", *(f"  {step}" for step in steps)]
    if kind == "encoder":
        told += _on_sequences(baseline, f"{place}:{cls}")
    if kind in UNSTATED:
        told.append(f"The check fails until you have replaced what the file says is '{PLACEHOLDER}'.")
    return "\n".join(told)


def _on_sequences(baseline: str, encoder: str) -> list[str]:
    """How an encoder is tried that takes no vectors, as its user may soon have changed it."""
    name, modality = OWN_SET
    run = RUN.format(methods=baseline, data=f"--dataset ./{_module(name)}.py")
    return [
        "The set synthetic has vectors (D,). For sequences (T, C), as with axes = (2,):",
        f"  mcr-bench new dataset {name}",
        f"  {run} --set encoder.{modality}.kind={encoder}",
        "For other shapes, name a set of yours that has them, and its modality: --dataset mine.npz --set "
        f"encoder.MODALITY.kind={encoder}",
    ]


def _module_of(kind: Kind, name: str) -> str:
    """The name of the file without its suffix; UserError for a name that cannot be one."""
    taken = {
        "method": [*registry.method_names(), *registry.COMMON],
        "dataset": registry.dataset_names(),
        "encoder": nets.encoder_names(),
        "fusion": nets.fusion_names(),
    }
    require_name(name, "", taken[kind], f"choose another one, such as my-{kind}")
    module, cls = _module(name), class_name(name)
    if keyword.iskeyword(module) or module.startswith("test_") or _is_installed(module) or cls in _words(kind):
        raise UserError(
            f"'{name}' cannot be the name of your {kind}: its file {module}.py, or its class {cls}, would hide "
            f"something else of that name. Choose another one, such as my-{name}."
        )
    return module


def _module(name: str) -> str:
    return name.replace("-", "_")


def _words(kind: Kind) -> set[str]:
    """The names that the files of an example use, without that of its class."""
    example = OF_KIND[kind]
    texts = [path.read_text(encoding="utf-8") for path in _places(example)]
    return {word for text in texts for word in re.findall(r"\w+", text)} - {example.cls}


def _places(example: Example) -> tuple[Path, Path]:
    """The file of an example, and that of its test."""
    return EXAMPLES / PACKAGE / f"{example.module}.py", EXAMPLES / "tests" / f"test_{example.module}.py"


def _is_installed(module: str) -> bool:
    """Whether Python has a module of that name already, which the file would hide, or which would hide the file."""
    if module in sys.stdlib_module_names or module in sys.builtin_module_names:
        return True
    with suppress(ImportError, ValueError):
        spec = find_spec(module)
        return spec is not None and spec.origin is not None and Path(spec.origin).parent != Path.cwd()
    return True


def _write(texts: dict[Path, str]) -> None:
    """Write all files, or none of them if that is interrupted or fails."""
    try:
        for path, text in texts.items():
            write_whole(path, text)
    except BaseException:
        for path in texts:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise
