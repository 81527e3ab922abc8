"""What a design can show: its smallest possible p, the pairs needed for alpha, the smallest detectable difference."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import inf, sqrt

import numpy as np
import scipy  # its parts are imported where they are first used: each takes part of a second

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.statistics.sign_flip import DRAWS, EXACT
from mcr_bench.bench.words import number_of

SIMULATED = 12  # up to this many pairs the power of the sign-flip test is simulated; above, the t test's is close
ROUNDS = 4_000  # simulated designs: the detectable effect has a standard error of about 1 %


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p that the sign-flip test can give with n pairs: 2 / 2^n, and 1 for no pair.

    Beyond 32 pairs it is 1 / (m + 1) for the m random patterns that are drawn.

    >>> smallest_p(5), smallest_p(200)
    (0.0625, 1e-05)
    """
    if pairs < 0:
        raise ValueError(f"pairs must be at least 0, not {pairs}")
    if pairs > EXACT:
        return 1 / (DRAWS + 1)
    return min(1.0, 2.0 ** (1 - pairs))


def reachable(pairs: int, comparisons: int = 1, alpha: float = 0.05) -> bool:
    """Whether a comparison in a family of `comparisons` can reach p <= alpha after Holm's correction.

    >>> reachable(6, comparisons=1), reachable(6, comparisons=10)
    (True, False)
    """
    _check(comparisons, alpha)
    return smallest_p(pairs) * comparisons <= alpha


def pairs_needed(comparisons: int, alpha: float = 0.05) -> int:
    """The smallest number of pairs with which p <= alpha can be reached after Holm's correction over `comparisons`.

    UserError for an alpha that no number of pairs reaches: beyond 32 pairs p comes from random patterns.

    >>> pairs_needed(1), pairs_needed(10)
    (6, 9)
    """
    _check(comparisons, alpha)
    needed = next((n for n in range(EXACT + 1) if reachable(n, comparisons, alpha)), None)
    if needed is None:
        raise UserError(
            f"alpha {alpha:g} over {number_of(comparisons, 'comparison')}: no number of pairs reaches it, as the "
            f"sign-flip test gives no p below {smallest_p(EXACT):.3g}. Give a larger alpha, such as 0.05."
        )
    return needed


@dataclass(frozen=True)
class Shortfall:
    """A design with too few pairs to show anything; all advice on seeds is made from it.

    pairs: the number of (seed, fold) pairs.
    comparisons: the number of comparisons in the family.
    alpha: the level to be reached.
    smallest: the smallest p after Holm's correction that is possible.
    needed: the number of pairs that would be enough.
    """

    pairs: int
    comparisons: int
    alpha: float
    smallest: float
    needed: int

    @property
    def text(self) -> str:
        """The shortfall in one sentence, without the full stop."""
        return (
            f"{number_of(self.pairs, '(seed, fold) pair')} cannot reach p <= {self.alpha:g} after Holm over "
            f"{number_of(self.comparisons, 'comparison')} (smallest possible p: {self.smallest:.3g}); {self.needed} can"
        )


def shortfall(pairs: int, comparisons: int, alpha: float = 0.05) -> Shortfall | None:
    """The shortfall of a design whose pairs cannot reach alpha after Holm over its comparisons; None where they can.

    >>> short = shortfall(3, comparisons=1)
    >>> short.smallest, short.needed
    (0.25, 6)
    """
    if reachable(pairs, comparisons, alpha):
        return None
    smallest = min(1.0, smallest_p(pairs) * comparisons)
    return Shortfall(pairs, comparisons, alpha, smallest, pairs_needed(comparisons, alpha))


@lru_cache(maxsize=256)
def detectable(pairs: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest mean difference that the sign-flip test finds with probability `power`; inf where there is none.

    It is in standard deviations of the paired differences, which are taken as normally distributed. alpha is the level
    of one comparison: divide that of a family by its size. Up to 12 pairs the power is simulated with a fixed seed;
    above, it is that of the paired t test.

    >>> round(detectable(20), 2)
    0.66
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
    """The effect at which the two-sided paired t test has this power in the right direction.

    With t the critical value of n - 1 degrees of freedom, it is c / sqrt(n), where P(T_{n-1, c} <= t) = 1 - power for
    the noncentral T of noncentrality c (Cohen, Statistical Power Analysis, 1988).
    """
    critical = -scipy.special.stdtrit(pairs - 1, alpha / 2)
    return max(float(scipy.special.nctdtrinc(pairs - 1, 1 - power, critical)) / sqrt(pairs), 0.0)


def _thresholds(pairs: int, alpha: float) -> np.ndarray:
    """For each simulated design with differences of unit spread, the smallest shift that makes p <= alpha, (ROUNDS,).

    Flipping the signs of a set F of pairs lowers the sum by 2 sum_F. A pattern is thus as extreme as the observed one
    where mean_F(z) + shift <= 0, and its mirror image counts once more. p <= alpha allows floor(alpha 2^n / 2) such
    sets, one of which is the empty set. The shift must lift the means of all other sets above zero.
    """
    noise = np.random.default_rng(0).standard_normal((ROUNDS, pairs)).astype(np.float32)
    flipped = np.array(list(product((0, 1), repeat=pairs))[1:], dtype=np.float32)
    means = (flipped / flipped.sum(1, keepdims=True)).T
    allowed = int(alpha * 2.0**pairs / 2) - 1
    return np.concatenate([-np.partition(part @ means, allowed)[:, allowed] for part in np.array_split(noise, 20)])


def _check(comparisons: int, alpha: float) -> None:
    if comparisons < 1 or not 0 < alpha < 1:
        raise ValueError(f"comparisons must be at least 1 and alpha within 0..1, not {comparisons} and {alpha}")
