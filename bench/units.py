"""The unit in which the scores of a regression are learned, which may be another one than the user's."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mcr_bench.bench.errors import UserError

if TYPE_CHECKING:  # commands that print tables ask for tasks and their units too, and torch takes seconds to import
    from torch import Tensor

TargetScale = Literal["standard", "none"]
TARGET_SCALE = (
    "regression: how scores are learned; standard: with mean 0 and variance 1 over the training part (results stay in "
    "the user's unit); none: as they are"
)
GRID = 2.0**20  # steps per standard deviation: about the precision of float32 arithmetic in a network
CONSTANT = 1e-12  # largest deviation over largest score: below it, scores differ only by the rounding of float64
OFF_MEAN = 1e-6  # deviation over the largest deviation: above it, rounding cannot change the sign


@dataclass(frozen=True)
class Unit:
    """The unit in which a regression learns its scores: score = mean + size * learned.

    mean: the score that is learned as 0.
    size: the difference of scores that is learned as 1; it may be negative.
    """

    mean: float = 0.0
    size: float = 1.0

    def learned(self, scores: "Tensor") -> "Tensor":
        """Scores or predictions of any shape in the user's unit -> the same in the learned unit, float32.

        In any unit but the user's own, values are rounded to a millionth of a standard deviation. The same data given
        in two units then has the same bits, so that training with L1, which uses the signs of errors, gives the same.

        >>> import torch
        >>> Unit(mean=10.0, size=2.0).learned(torch.tensor([8.0, 13.0]))
        tensor([-1.0000,  1.5000])
        """
        if self == Unit():
            return scores.float()
        return (((scores.double() - self.mean) / self.size * GRID).round() / GRID).float()

    def user(self, learned: "Tensor") -> "Tensor":
        """Values of any shape in the learned unit -> the same in the user's unit, float64.

        They are returned unchanged where the two units are the same.

        >>> import torch
        >>> Unit(mean=10.0, size=2.0).user(torch.tensor([-1.0, 1.5]))
        tensor([ 8., 13.], dtype=torch.float64)
        """
        if self == Unit():
            return learned
        return self.mean + self.size * learned.double()

    @property
    def notes(self) -> dict[str, float]:
        """Mean and size for the record, which convert outputs of kept weights; empty for the user's own unit."""
        return {} if self == Unit() else {"target_mean": self.mean, "target_size": self.size}


def divisors(mean: "Tensor", deviation: "Tensor") -> "Tensor":
    """What standardised channels are divided by: their standard deviation, or 1 for a channel that is constant.

    mean, deviation: (...) float64. A channel is constant if its deviation is no more than the rounding of its values:
    the size alone says nothing, as magnetic fields in tesla deviate by 1e-13.

    >>> import torch
    >>> mean, deviation = torch.tensor([0.0, 7.0], dtype=torch.float64), torch.tensor([1e-13, 1e-15]).double()
    >>> divisors(mean, deviation)
    tensor([1.0000e-13, 1.0000e+00], dtype=torch.float64)
    """
    return deviation.where(deviation > CONSTANT * mean.abs(), 1)


def standard_unit(scores: "Tensor") -> Unit:
    """The unit in which training scores (N,) have mean 0 and variance 1.

    The sign of `size` makes the first score that differs from the mean positive. A network drawn at random is not
    symmetric in the sign of its target; with this rule y and -y give the same training. UserError for scores that are
    all equal.

    >>> import torch
    >>> standard_unit(torch.tensor([3.0, 1.0])), standard_unit(torch.tensor([-3.0, -1.0]))
    (Unit(mean=2.0, size=1.0), Unit(mean=-2.0, size=-1.0))
    """
    y = scores.double()
    deviation = y - y.mean()
    largest = deviation.abs().max()
    if largest <= CONSTANT * y.abs().max():
        raise UserError(
            f"all {len(y)} scores of the training part are {float(y[0]):g}: nothing can be learned from them, and they "
            "cannot be standardised. Give training samples with different scores."
        )
    shares = deviation / largest
    first = shares[int((shares.abs() > OFF_MEAN).int().argmax())]
    return Unit(float(y.mean()), float(largest * shares.square().mean().sqrt() * first.sign()))


USERS_OWN = Unit()


@dataclass(frozen=True)
class Units:
    """The units in which a regression of K scores learns them, one for each output.

    each: the K units.
    """

    each: tuple[Unit, ...]

    def learned(self, scores: "Tensor") -> "Tensor":
        """Scores or predictions (..., K) in the user's units -> the same in the learned units, float32.

        >>> import torch
        >>> Units((Unit(mean=10.0, size=2.0), Unit())).learned(torch.tensor([[8.0, 13.0]]))
        tensor([[-1., 13.]])
        """
        import torch

        return torch.stack([unit.learned(x) for unit, x in zip(self.each, scores.unbind(-1), strict=True)], -1)

    def user(self, learned: "Tensor") -> "Tensor":
        """Values (..., K) in the learned units -> the same in the user's units, float64."""
        import torch

        columns = [unit.user(x).double() for unit, x in zip(self.each, learned.unbind(-1), strict=True)]
        return torch.stack(columns, -1)

    @property
    def notes(self) -> dict[str, float]:
        """Means and sizes for the record, numbered from 0.

        >>> Units((Unit(mean=10.0, size=2.0),)).notes
        {'target_mean_0': 10.0, 'target_size_0': 2.0}
        """
        return {f"{name}_{k}": value for k, unit in enumerate(self.each) for name, value in unit.notes.items()}


def standard_units(scores: "Tensor") -> Units:
    """The units in which each column of training scores (N, K) has mean 0 and variance 1; see `standard_unit`.

    UserError that names the first column whose scores are all equal.
    """
    return Units(tuple(_of_column(k, column) for k, column in enumerate(scores.unbind(1))))


def _of_column(number: int, scores: "Tensor") -> Unit:
    try:
        return standard_unit(scores)
    except UserError as error:
        raise UserError(f"output {number} (column {number} of the targets): {error}") from error
