"""Files and folders of other formats: what they are, and the three lines of Python that make an .npz of each."""

from itertools import islice
from pathlib import Path

from mcr_bench.bench.core.inputs.texts import json_of

OWN = ("y", "split", "group", "id", "class_names")  # keys of an array file beside x_<modality>
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
MEDIA = (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".mp4", ".avi", ".mkv", ".webm", ".mov", ".flv")
DESCRIPTION = "dataset.toml"  # what describes a folder of files in these formats
READ_IN_FOLDERS = (".npy", ".pt", ".pth", ".parquet", ".csv", ".jsonl")
AS_IT_IS = f"\nOr leave it as it is: put it in a folder with a {DESCRIPTION} (docs/data.md, Folders of array files)."
MOST_LOOKED_AT = 2000  # entries of a folder that are read to find out what it holds
ADAPTER = "Recordings are read by an adapter: docs/data.md (A dataset of your own) shows one."
DRAWN = 'np.random.default_rng(0).choice(["train", "val", "test"], len({of}), p=[0.7, 0.1, 0.2])'
KEYED = 'np.savez("mine.npz", **d)  # its keys: x_<modality>, y, split'


Form = tuple[str, tuple[str, ...]]  # the name of a format, and the lines of Python; {path!r} is the path of the file


def _table(read: str, what: str) -> Form:
    """The form of a table with one row per sample, one column `label` and one column `split`."""
    return what, (
        "import numpy as np, pandas as pd",
        f't = pd.{read}; x = t.drop(columns=["label", "split"]).to_numpy("float32")  # a row per sample',
        'np.savez("mine.npz", x_features=x, y=np.array(t["label"].tolist()), split=np.array(t["split"].tolist()))',
    )


ARRAY: Form = (
    "one array of NumPy",
    (
        "import numpy as np",
        "x, y, split = np.load({path!r}), np.load('y.npy'), np.load('split.npy')  # a row per sample in each",
        'np.savez("mine.npz", x_features=x, y=y, split=split)',
    ),
)
TORCH: Form = (
    "a file of torch",
    (
        "import numpy as np, torch",
        "d = {{k: np.asarray(v) for k, v in torch.load({path!r}, weights_only=True).items()}}",
        KEYED,
    ),
)
PICKLE: Form = (
    "a pickle (opening it runs the code in it: open only a pickle whose author you trust)",
    (
        "import numpy as np, pickle; from pathlib import Path",
        "d = pickle.loads(Path({path!r}).read_bytes())  # a dict of arrays",
        KEYED,
    ),
)
MATLAB: Form = (
    "a file of MATLAB (a file of version 7.3 is HDF5: read it with h5py, and transpose the arrays)",
    (
        "import numpy as np, scipy.io",
        "d = {{k: v for k, v in scipy.io.loadmat({path!r}).items() if not k.startswith('__')}}",
        'np.savez("mine.npz", **(d | {{"y": d["y"].ravel(), "split": np.char.strip(d["split"].ravel())}}))',
    ),
)
HDF5: Form = (
    "HDF5",
    (
        "import h5py, numpy as np",
        "d = {{k: v.asstr()[()].astype(str) if v.dtype == 'O' else v[()] for k, v in h5py.File({path!r}).items()}}",
        KEYED,
    ),
)
SAFETENSORS: Form = (
    "a safetensors file, which cannot hold text: save `split` (N,) in a file of its own",
    (
        "import numpy as np; from safetensors.numpy import load_file",
        "d = load_file({path!r})",
        'np.savez("mine.npz", **d, split=np.load("split.npy"))  # its keys: x_<modality>, y',
    ),
)
FORMS: dict[str, Form] = {
    ".csv": _table("read_csv({path!r})", "a CSV table"),
    ".tsv": _table("read_csv({path!r}, sep='\\t')", "a table with tabs"),
    ".txt": _table("read_csv({path!r}, sep=None, engine='python')", "a text file"),
    ".xlsx": _table("read_excel({path!r})", "an Excel table"),
    ".xls": _table("read_excel({path!r})", "an Excel table"),
    ".parquet": _table("read_parquet({path!r})", "a Parquet table"),
    ".feather": _table("read_feather({path!r})", "a Feather table"),
    ".arrow": _table("read_feather({path!r})", "an Arrow table"),
    ".json": _table("read_json({path!r})", "JSON"),
    ".jsonl": _table("read_json({path!r}, lines=True)", "JSON lines"),
    ".npy": ARRAY,
    ".pt": TORCH,
    ".pth": TORCH,
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".mat": MATLAB,
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".safetensors": SAFETENSORS,
}
PACKED = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst")
UNPACK = "It is an archive: unpack it, and use the file in it."
WEB_PAGE = "It is a web page: the download needed a login or had a wrong address. Download it again."
PAGES = (b"<!doctype html", b"<html")
PACKERS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")
# First bytes -> suffix, because the name of a file may not match its format.
MAGIC = {
    b"\x93NUMPY": ".npy",
    b"\x89HDF\r\n": ".h5",
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"MATLAB 5": ".mat",
    b"\x80\x02": ".pkl",
    b"\x80\x03": ".pkl",
    b"\x80\x04": ".pkl",
    b"\x80\x05": ".pkl",
}


def conversion(path: Path) -> str:
    """What a file or folder is, and three lines of Python that make an .npz of it; '' if its format is unknown.

    >>> print(conversion(Path("mine.npy")))
    It is one array of NumPy. These lines make an .npz of it:
      import numpy as np
      x, y, split = np.load('mine.npy'), np.load('y.npy'), np.load('split.npy')  # a row per sample in each
      np.savez("mine.npz", x_features=x, y=y, split=split)
    Or leave it as it is: put it in a folder with a dataset.toml (docs/data.md, Folders of array files).
    """
    if path.name == DESCRIPTION:
        return f"It describes the folder that it is in. Give the folder: {path.parent}"
    if path.is_dir():
        return f"{_of_folder(path)}{_described(path)}"
    suffix = path.suffix.lower()
    if suffix in MEDIA:
        return f"It is one recording. {ADAPTER}"
    return f"{_of_suffix(suffix, path)}{AS_IT_IS if suffix in READ_IN_FOLDERS else ''}"


def conversion_of_content(path: Path, keys: tuple[str, ...] = ()) -> str:
    """The same for a file with a wrong name, recognised by its first bytes.

    keys: if it is a zip file, the names in it, which identify it too.
    """
    if any(key.endswith("data.pkl") for key in keys):
        return _of_suffix(".pt", path)
    if any(key.startswith("xl/") for key in keys):
        return _of_suffix(".xlsx", path)
    with path.open("rb") as file:
        head = file.read(64)
    return wrapping(head) or next(
        (_of_suffix(suffix, path) for magic, suffix in MAGIC.items() if head.startswith(magic)), ""
    )


def wrapping(head: bytes) -> str:
    """What a file is that begins with these bytes, if it is a web page or an archive; else ''.

    >>> wrapping(b"Rar!")
    'It is an archive: unpack it, and use the file in it.'
    """
    if is_web_page(head):
        return WEB_PAGE
    return UNPACK if head.startswith(PACKERS) else ""


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a web page, as a failed download leaves it.

    >>> is_web_page(b"  <!DOCTYPE html><html>")
    True
    """
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES)


def _of_suffix(suffix: str, path: Path) -> str:
    if suffix in PACKED:
        return UNPACK
    if suffix not in FORMS:
        return ""
    what, lines = FORMS[suffix]
    return _recipe(what, tuple(line.format(path=str(path)) for line in lines))


def _recipe(what: str, lines: tuple[str, ...]) -> str:
    return "\n".join([f"It is {what}. These lines make an .npz of it:", *(f"  {line}" for line in lines)])


def _of_folder(path: Path) -> str:
    files = _some_files(path)
    suffixes = {file.suffix.lower() for file in files}
    if own := next((file for file in files if file.suffix.lower() == ".npz"), None):
        return f"It is a folder. Give the file in it: {own}"
    if prepared := _prepared(path):
        return prepared
    if {file.name for file in files} & {"dataset_dict.json", "dataset_info.json"}:
        return _hugging_face(path)
    if ".npy" in suffixes:
        return _folder_of_arrays(path, files)
    if suffixes & set(IMAGES):
        return _folder_of_images(path, files)
    if suffixes & set(MEDIA):
        return f"It is a folder of recordings. {ADAPTER}"
    for file in sorted(files):
        if description := _of_suffix(file.suffix.lower(), file):
            return f"It is a folder. About '{file.name}' in it: {description}"
    kind = "a folder" if files else "a folder without files"
    return f"It is {kind}. Save its samples as one .npz: `mcr-bench data info arrays` shows the keys."


def _described(path: Path) -> str:
    """How a folder is read as it is; '' if none of its files is of a format that is read in folders."""
    if not {file.suffix.lower() for file in _some_files(path)} & {*READ_IN_FOLDERS, *IMAGES, *MEDIA}:
        return ""
    return f"\nOr leave it as it is, and write a {DESCRIPTION} in it (docs/data.md, Folders of array files)."


def _some_files(path: Path) -> list[Path]:
    return list(islice((file for file in path.rglob("*") if file.is_file()), MOST_LOOKED_AT))


def _prepared(path: Path) -> str:
    """How to use a folder that `data prepare` has written; '' for any other folder."""
    for manifest in [*path.glob("manifest.json"), *path.glob("*/manifest.json")]:
        try:
            name = json_of(manifest.read_text(encoding="utf-8"))["dataset"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        root = manifest.parent.parent.parent
        return f"It is the prepared dataset {name}. Use --dataset {name} --data-root {root}"
    return ""


def _hugging_face(path: Path) -> str:
    return _recipe(
        "a dataset of the Hugging Face library",
        (
            f"import datasets, numpy as np; d = datasets.load_from_disk({str(path)!r}).with_format('numpy')",
            'x, y = (np.concatenate([d[p][k][:] for p in d]) for k in ("features", "label"))  # its columns',
            'np.savez("mine.npz", x_features=x, y=y, split=np.repeat(list(d), [len(d[p]) for p in d]))',
        ),
    )


def _folder_of_arrays(path: Path, files: list[Path]) -> str:
    if any(file.parent != path for file in files if file.suffix.lower() == ".npy"):
        return _folder_of_samples(
            path, files, ".npy", "np.load(f)", "arrays", "import numpy as np; from pathlib import Path"
        )
    return _recipe(
        "a folder of arrays",
        (
            "import numpy as np; from pathlib import Path",
            f"d = {{p.stem: np.load(p) for p in Path({str(path)!r}).glob('*.npy')}}  # y.npy and split.npy among them",
            f'np.savez("mine.npz", **{{k if k in {OWN} or k.startswith("x_") else "x_" + k: v for k, v in d.items()}})',
        ),
    )


def _folder_of_images(path: Path, files: list[Path]) -> str:
    suffix = next(file.suffix for file in files if file.suffix.lower() in IMAGES)
    read = 'np.array(Image.open(f).convert("RGB").resize((64, 64))).transpose(2, 0, 1)'
    imports = "import numpy as np; from pathlib import Path; from PIL import Image"
    return _folder_of_samples(path, files, suffix, read, "images", imports)


def _folder_of_samples(path: Path, files: list[Path], suffix: str, read: str, what: str, imports: str) -> str:
    """A folder with one file per sample, in a folder per class, which may be in a folder per part."""
    depth = max(len(file.relative_to(path).parts) for file in files if file.suffix == suffix)
    label = "[f.parent.name for f in files]" if depth > 1 else "[f.stem.split('_')[0] for f in files]"
    split = "[f.parent.parent.name for f in files]" if depth > 2 else DRAWN.format(of="files")
    layout = {1: "CLASS_NUMBER", 2: "CLASS/FILE"}.get(depth, "PART/CLASS/FILE")
    pattern = "/".join(["*"] * depth) + suffix
    return _recipe(
        f"a folder of {what}",
        (
            imports,
            f"files = sorted(Path({str(path)!r}).glob({pattern!r})); x = np.stack([{read} for f in files])  # {layout}",
            f'np.savez("mine.npz", x_{what.rstrip("s")}=x, y={label}, split={split})',
        ),
    )


def of_objects(key: str) -> str:
    """How an array of Python objects under a key of an .npz becomes one of numbers or text.

    >>> of_objects("group").partition(", or")[0]
    'Save group = np.array(list(group))'
    """
    if not key.startswith("x_"):
        return (
            f"Save {key} = np.array(list({key})), or, if it mixes text and numbers, np.array(list(map(str, {key}))). "
            "Leave samples whose value is None out first."
        )
    name = key.removeprefix("x_")
    lines = (
        f"n = np.array([len(s) for s in {key}]); padded = np.zeros((len(n), n.max(), {key}[0].shape[1]), 'float32')",
        f"for row, s in zip(padded, {key}): row[:len(s)] = s",
        f"# then np.savez(..., {key}=padded, length_{name}=n)",
    )
    head = f"Samples of one shape: {key} = np.stack(list({key})). Pad sequences (T, C) of different lengths:"
    return "\n".join([head, *(f"  {line}" for line in lines)])
