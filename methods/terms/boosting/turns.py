"""Schedules in which modalities take turns: where an epoch lies in it, and how long a stage is in a run."""

from typing import NamedTuple

LONGEST, ROUNDS = 4, 4  # epochs of a phase, and stages that each modality shall have in a short run


class Place(NamedTuple):
    """Where an epoch lies in a schedule of stages, each of which trains one modality and then all.

    stage: the stage, from 0.
    joint: whether all modalities are trained in it, not one.
    first: whether it is the first epoch of its phase.
    """

    stage: int
    joint: bool
    first: bool


def rank_of_turn(epoch: int, length: int, modalities: int) -> int | None:
    """Which of M modalities, by its rank from 0, learns alone in an epoch from 1; None where all learn.

    length: the number of epochs, from the first one, that M - 1 turns of one modality each share.

    >>> [rank_of_turn(epoch, length=4, modalities=3) for epoch in (1, 2, 3, 4, 5)]
    [0, 0, 1, 1, None]
    """
    return (epoch - 1) * (modalities - 1) // length if epoch <= length else None


def place_of(epoch: int, alone: int, joint: int) -> Place:
    """The place of an epoch, from 1, where stages have `alone` epochs of one modality and then `joint` epochs of all.

    >>> place_of(3, alone=2, joint=1)
    Place(stage=0, joint=True, first=True)
    """
    stage, place = divmod(epoch - 1, alone + joint)
    return Place(stage, place >= alone, place in (0, alone))


def phase_length(epochs: int, modalities: int) -> int:
    """The epochs of each phase in a run of so many epochs: at most 4, and so few that each modality has four stages.

    >>> phase_length(30, modalities=2), phase_length(1000, modalities=2)
    (1, 4)
    """
    return max(1, min(LONGEST, epochs // (2 * modalities * ROUNDS)))
