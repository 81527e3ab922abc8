"""What is known about a dataset before any of it is used: its modalities, its task and its protocols."""

from dataclasses import dataclass

from mcr_bench.bench.task import Task


@dataclass(frozen=True)
class Modality:
    """What one sample of a modality looks like.

    shape: the shape of one sample without the batch axis: (D,) for vectors, (T, C) for sequences, (C, H, W) for images,
        (T, C, H, W) for clips.
    padded: whether the sequences (T, C) are padded at their ends; their real lengths are in `Inputs.lengths`.
    lacked: whether some samples lack it; `Inputs.present` says which.
    vocabulary: the number V of ids where samples are sequences (T, 1) of ids of words, whole numbers (int64) from 0 to
        V - 1, of which 0 stands for no word; 0 where samples are numbers that can be added and scaled.
    """

    shape: tuple[int, ...]
    padded: bool = False
    lacked: bool = False
    vocabulary: int = 0


@dataclass(frozen=True)
class Facts:
    """What is known about the data before any of it is used for training.

    modalities: name of each modality -> its shape.
    task: what is learned: one of C classes, several labels, one score, or several scores.
    class_names: the names of the classes or labels in the order of their indices; empty for regression.
    notes: sentences that the user should read before the runs begin, such as how the labels were interpreted.
    """

    modalities: dict[str, Modality]
    task: Task
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def unmovable(self, doing: str) -> str | None:
        """Why a method that does something to inputs (`doing`) cannot: some are ids of words; None where none are.

        >>> Facts({"text": Modality((9, 1), vocabulary=50)}, Task(2)).unmovable("adds noise to inputs")
        "adds noise to inputs, but those of 'text' are ids of words"
        """
        ids = [m for m, modality in self.modalities.items() if modality.vocabulary]
        return f"{doing}, but those of '{ids[0]}' are ids of words" if ids else None


@dataclass(frozen=True)
class Protocol:
    """A named rule that splits a dataset into parts. Tables never mix two protocols in one column.

    name: the name by which the user chooses the protocol.
    split: how the samples are divided into training, validation and test, in words.
    selection: the part that selects the epoch to be tested, in words.
    metric: the name of the main metric.
    folds: the numbers of the folds.
    note: anything a reader of a table must know, such as a leak between parts.
    """

    name: str
    split: str
    selection: str
    metric: str
    folds: tuple[int, ...] = (1,)
    note: str = ""

    @property
    def card(self) -> str:
        """The protocol in one line, for the foot of a table.

        >>> Protocol("file", "the split in the file", "validation", "accuracy").card
        'file: the split in the file; selected on validation; metric accuracy; folds [1]'
        """
        line = (
            f"{self.name}: {self.split}; selected on {self.selection}; metric {self.metric}; folds {list(self.folds)}"
        )
        return f"{line}; {self.note}" if self.note else line
