"""The weight of the agreement of modalities beside their common loss, and how it changes with the epochs."""

from math import exp

LEAST, MOST = 0.05, 0.95  # of the weight of the alignment
# Crema_epoch.py:50: the weight of the alignment by powers of the epoch, which counts from 0 to 199.
RELEASED = (7.95376296e-1, -3.35472727e-3, -1.22989557e-4, 2.92947416e-6, -2.23835486e-8, 5.39717505e-11)
LAST_RELEASED = 199


def clipped(weight: float) -> float:
    """A weight of the alignment, kept between 0.05 and 0.95.

    >>> clipped(1.5), clipped(0.3)
    (0.95, 0.3)
    """
    return max(LEAST, min(MOST, weight))


def released_weight(passed: int) -> float:
    """The weight of the alignment in the official code after `passed` epochs: a polynomial fitted to an earlier run.

    >>> round(released_weight(0), 4), round(released_weight(50), 4)
    (0.7954, 0.5633)
    """
    epoch = float(min(passed, LAST_RELEASED))
    return sum(c * epoch**power for power, c in enumerate(RELEASED))


def faded_weight(passed: int, decay: float) -> float:
    """exp(-decay t) after t = `passed` epochs, kept between 0.05 and 0.95.

    >>> faded_weight(0, 0.5), faded_weight(100, 0.5)
    (0.95, 0.05)
    """
    return clipped(exp(-decay * passed))
