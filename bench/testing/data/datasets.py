"""The properties of datasets, and how a dataset that a target names is opened."""

import inspect
from collections.abc import Callable
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.own.trial import trial
from mcr_bench.bench.testing.card import DATA_ROOT, Kit, NotApplicable, Opened, Property
from mcr_bench.bench.testing.data import contents, declared, influence
from mcr_bench.bench.testing.data.case import DataCase


def _property(name: str, promise: str, hint: str, check: Callable[[DataCase], None]) -> Property[DataCase]:
    """A property that says nothing of a dataset that cannot be loaded; what it changes in the process is undone."""

    def checked(case: DataCase) -> None:
        if case.refused and check is not declared.loads:
            raise NotApplicable("it cannot be loaded; see the property `loads`")
        with trial():
            check(case)

    return Property(name, promise, hint, checked)


PROPERTIES: tuple[Property[DataCase], ...] = (
    _property(
        "loads",
        "its default protocol loads with default settings",
        "docs/data.md shows what facts, protocols, fingerprint and load return",
        declared.loads,
    ),
    _property(
        "facts",
        "every part has the modalities, shapes, lengths and numbers of samples that facts() states, in float32, or "
        "int64 for ids of words",
        "give values as float32 tensors (N, ...), without the batch axis in Modality, and lengths where padded=True",
        contents.facts,
    ),
    _property(
        "finite",
        "inputs and targets are finite",
        "replace or leave out missing values; a channel that never changes has deviation 0: do not divide by it",
        contents.finite,
    ),
    _property(
        "labels",
        "classes are int64 from 0 to C - 1 and all in the training part; scores are floats",
        "count classes from 0, as Task(C) says; stratify the split",
        contents.labels,
    ),
    _property(
        "labels-agree",
        "labels() gives the targets that load() gives, in the same order",
        "leave labels() out, or compute both by one function",
        contents.labels_agree,
    ),
    _property(
        "unique-ids",
        "each sample has an id of its own, as text",
        'number the samples of a part: [f"train{i}" for i in range(n)]',
        contents.ids,
    ),
    _property(
        "protocols",
        "every protocol states split, selection, metric and folds, and its folds load with no empty part",
        "mcr-bench describe shows the protocols; metrics are accuracy, macro_f1, mae and so on, by the task",
        declared.protocols,
    ),
    _property(
        "folds-differ",
        "two folds of a protocol have different samples",
        "use the argument `fold` in load()",
        declared.folds_differ,
    ),
    _property(
        "disjoint",
        "the parts share no id, no group and no content, unless the protocol has a note that says so",
        "keep all samples of a group (speaker, video) in one part; where an official list leaks, say so in "
        "Protocol(..., note=...)",
        declared.disjoint,
    ),
    _property(
        "training-alone",
        "validation and test never influence the values of the training part",
        "split first, then standardise with the training part: mcr_bench.datasets.base.standardise(splits) does it",
        influence.training_alone,
    ),
    _property(
        "same-seed",
        "the same protocol, fold and seed give the same data, bit for bit",
        "draw from generator(seed, 'data', name) or torch.Generator().manual_seed(seed), made anew in load(); keep "
        "nothing between loads that load() changes",
        declared.same_again,
    ),
    _property(
        "no-draws",
        "loading draws from no global generator",
        "give every torch.rand, randn and randperm generator=...; use numpy.random.default_rng(seed)",
        declared.no_draws,
    ),
    _property(
        "subsets",
        "a modality that is loaded alone has the same samples, in the same order",
        "draw the noise of each modality from a generator of its own name",
        contents.subsets,
    ),
    _property(
        "fingerprint",
        "the fingerprint is the same text at each call, and for the same files in another folder",
        "digest what decides the data: the bytes of its files, or a version; no time, no path, no id(), no hash()",
        influence.fingerprint,
    ),
    _property(
        "fingerprint-follows",
        "when the files of the data change, so does the fingerprint",
        "digest the contents of the files: hashlib.sha256(path.read_bytes()).hexdigest()",
        influence.fingerprint_follows,
    ),
    _property(
        "leaves-no-trace",
        "loading changes nothing of the process",
        "no chdir, environment variables, warning filters, default dtypes or replaced functions",
        declared.no_trace,
    ),
    _property(
        "card",
        "docstring, title, licence and size are stated, and every setting has a text",
        'card = Card(title="...", homepage="", licence="...", layout="...", expected="120 samples")',
        declared.card,
    ),
)


def opened(target: str) -> Opened[DataCase]:
    """The dataset that a name, a file or a class of a package names; UserError where raw data was not prepared."""
    return opened_at(target, DATA_ROOT)


def opened_at(target: str, data_root: Path) -> Opened[DataCase]:
    """The same with prepared datasets in another folder."""
    case = DataCase(target, data_root)
    try:
        data = case.made()
    except UserError:
        raise
    except (Exception, SystemExit):  # of any type: the code is somebody else's, and `loads` tells of it
        return Opened(target, case)
    if data.needs_preparation or data.suffixes:
        data.facts()  # that data is missing is not a fault of the adapter
    source = inspect.getsourcefile(type(data))
    place = "exists" if data.location.exists() else "does not exist; it is not needed where data is generated"
    notes = (("data", f"{data.location} ({'the file' if data.suffixes else f'--data-root {data_root}'}; {place})"),)
    return Opened(data.label, case, Path(source) if source else None, lambda: notes)


KIT = Kit(PROPERTIES, opened, opened_at)
