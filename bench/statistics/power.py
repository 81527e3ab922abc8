"""What a design can show at all: the smallest p, the pairs that alpha needs, the smallest detectable difference."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import inf, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.power import TTestPower

SIMULATED = 12  # pairs up to which the sign-flip test's own power is simulated; beyond, the t test's is close
ROUNDS = 4_000  # simulated designs: the detectable effect has a standard error of about 1 %
MOST_PAIRS = 64


def smallest_p(pairs: int) -> float:
    """Smallest two-sided p that the sign-flip test can give with so many pairs: 2 / 2^n, and 1 for none."""
    if pairs < 0:
        raise ValueError(f"pairs cannot be {pairs}")
    return min(1.0, 2.0 / 2.0**pairs)


def reachable(pairs: int, comparisons: int = 1, alpha: float = 0.05) -> bool:
    """Whether a comparison of a family of so many can reach alpha after Holm (smallest p times comparisons)."""
    _check(comparisons, alpha)
    return smallest_p(pairs) * comparisons <= alpha


def pairs_needed(comparisons: int, alpha: float = 0.05) -> int:
    """Smallest number of pairs with which alpha is reachable after Holm over so many comparisons."""
    _check(comparisons, alpha)
    return next(n for n in range(2 * MOST_PAIRS) if reachable(n, comparisons, alpha))


@dataclass(frozen=True)
class Shortfall:
    """A design that can show nothing. smallest: p after Holm at best; needed: the pairs that would do.

    The one rule behind all advice on seeds: before training, in comparisons, tables and figures.
    """

    pairs: int
    comparisons: int
    alpha: float
    smallest: float
    needed: int

    @property
    def text(self) -> str:
        """One sentence without its full stop."""
        return (
            f"{self.pairs} (seed, fold) pair(s) cannot reach p <= {self.alpha:g} after Holm over {self.comparisons} "
            f"comparison(s) (smallest possible p: {self.smallest:.3g}); {self.needed} can"
        )


def shortfall(pairs: int, comparisons: int, alpha: float = 0.05) -> Shortfall | None:
    """What is missing if so many pairs cannot reach alpha after Holm over so many comparisons; None where they can."""
    if reachable(pairs, comparisons, alpha):
        return None
    smallest = min(1.0, smallest_p(pairs) * comparisons)
    return Shortfall(pairs, comparisons, alpha, smallest, pairs_needed(comparisons, alpha))


@lru_cache(maxsize=256)
def detectable(pairs: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest mean difference that the sign-flip test finds with this power at level alpha; inf where none.

    In standard deviations of the paired differences, taken as normal. alpha is that of one comparison: divide by their
    number first. Simulated with a fixed seed up to 12 pairs; beyond, the power of the paired t test.
    """
    _check(1, alpha)
    if not 0 < power < 1:
        raise ValueError(f"power must lie between 0 and 1, not {power}")
    if not reachable(pairs, 1, alpha):
        return inf
    if pairs > SIMULATED:
        return _t_detectable(pairs, alpha, power)
    return float(np.quantile(_thresholds(pairs, alpha), power))


def _t_detectable(pairs: int, alpha: float, power: float) -> float:
    """Effect at which the two-sided paired t test has this power in the right direction.

    Bracketed and one-sided at alpha / 2, as statsmodels' own two-sided solver does not always converge.
    """
    largest = 4 * (norm.isf(alpha / 2) + norm.isf(min(1 - power, 0.5))) / sqrt(pairs)

    def missing(effect: float) -> float:
        return float(TTestPower().power(effect, pairs, alpha / 2, alternative="larger")) - power

    return float(brentq(missing, 0.0, largest, xtol=1e-6))


def _thresholds(pairs: int, alpha: float) -> np.ndarray:
    """Per simulated design of unit spread, the smallest shift of its mean that makes p <= alpha.

    Flipping the pairs F lowers the sum by 2 sum_F, so a pattern is as extreme as the observed one where
    mean_F(z) + shift <= 0, and its mirror image counts once more. p <= alpha allows floor(alpha 2^n / 2) such F, one of
    which is the empty set; the shift must lift all other means above zero.
    """
    noise = np.random.default_rng(0).standard_normal((ROUNDS, pairs)).astype(np.float32)
    flipped = np.array(list(product((0, 1), repeat=pairs))[1:], dtype=np.float32)
    means = (flipped / flipped.sum(1, keepdims=True)).T
    allowed = int(alpha * 2.0**pairs / 2) - 1
    return np.concatenate([-np.partition(part @ means, allowed)[:, allowed] for part in np.array_split(noise, 20)])


def _check(comparisons: int, alpha: float) -> None:
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"comparisons must be at least 1 and alpha within 0..1, not {comparisons} and {alpha}")
