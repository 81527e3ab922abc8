"""What a run tells the record, from its opening to its end, and the text of each entry for a journal."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from mcr_bench.bench.runs.events import EpochDone

FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"


@dataclass(frozen=True)
class Opening:
    """A training begins.

    key: the run's key.
    dataset: the name of its dataset.
    name: what MLflow's page calls it.
    params: its settings as text.
    tags: the texts by which the record finds and describes it.
    again: whether it is trained although its key is finished.
    when: the time, in seconds since 1970.
    attempt: what tells it from other trainings of its key; "" in a record that is a local file.
    """

    key: str
    dataset: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    again: bool
    when: float
    attempt: str = ""


@dataclass(frozen=True)
class Ending:
    """A training has ended.

    status: FINISHED, FAILED or KILLED.
    when: the time, in seconds since 1970.
    metrics: its final values by name.
    tags: texts about it.
    reason: why it failed, in one line.
    traceback: the traceback of the error.
    artifacts: the name of each file that belongs to it -> a digest of the content.
    """

    status: str
    when: float
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    traceback: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)


Entry = Opening | EpochDone | Ending
KINDS: dict[str, type[Entry]] = {"opening": Opening, "epoch": EpochDone, "ending": Ending}


def to_data(entry: Entry) -> dict[str, object]:
    """An entry as JSON has it."""
    kind = next(name for name, kind in KINDS.items() if isinstance(entry, kind))
    return {"kind": kind, **asdict(entry)}


def of_data(data: Mapping[str, object]) -> Entry:
    """The entry of such data; KeyError or TypeError if they are of another version of this program."""
    make: Callable[..., Entry] = KINDS[str(data["kind"])]
    return make(**{name: value for name, value in data.items() if name != "kind"})
