"""What is known of data before any of it is used: modalities, task, protocols."""

from dataclasses import dataclass

from mcr_bench.bench.task import Task


@dataclass(frozen=True)
class Modality:
    """Shape of one sample, without the batch axis: (D,) vectors, (T, C) sequences, (C, H, W) images or
    (T, C, H, W) clips.

    padded: the sequences have lengths of their own, given in `Inputs.lengths`.
    """

    shape: tuple[int, ...]
    padded: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of the data before any of it is used for training. notes: to be told before the runs begin."""

    modalities: dict[str, Modality]
    task: Task
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """A named split rule with its selection set, metric and folds. Tables never mix protocols in one column."""

    name: str
    split: str
    selection: str
    metric: str
    folds: tuple[int, ...] = (1,)
    note: str = ""

    @property
    def card(self) -> str:
        """One line for the foot of a table."""
        line = (
            f"{self.name}: {self.split}; selected on {self.selection}; metric {self.metric}; folds {list(self.folds)}"
        )
        return f"{line}; {self.note}" if self.note else line
