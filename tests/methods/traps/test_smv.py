"""SMV: the official variant draws with replacement, as released; the one of the paper draws subsets."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.bench.testing.trials.epochs import batches
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.smv import Smv
from mcr_bench.tests.methods.golden.valuation import epoch_gradient, plain_values

Entries = list[tuple[int, str]]
N = 60
ALPHA = {2: 15.1, 3: 2.9}  # by the number of modalities: so that many samples come again, and not all


def ready(method: Smv, count: int) -> Fit:
    names = NAMES[:count]
    fit = make_fit(method, names, data=tiny_split(names, n=N, seed=4), seed=4, dtype=torch.float64)
    fit.epoch, fit.step = 9, 30
    return fit


def expected(count: int, replaced: bool) -> Entries:
    """All samples, and the copies that the rule draws: of indices with replacement, or of subsets."""
    fit = ready(Smv(), count)
    values = plain_values(fit)

    def drawn(number: int, *names: str) -> list[int]:
        source = fit.generator(*names)
        every = torch.randint(N, (number,), generator=source) if replaced else torch.randperm(N, generator=source)
        return every[:number].tolist()

    valued = drawn(int(0.5 * N), "valued")
    gaps = {m: 1 - sum(of[i] for i in valued) / len(valued) for m, of in values.items()}
    chosen: Entries = [(i, "") for i in range(N)]
    for m, gap in gaps.items():
        others = sum(g for n, g in gaps.items() if n != m) / (count - 1)
        number = int(ALPHA[count] * max(0.0, gap - others) / 3 * 2 * N + 1e-9)
        chosen += [(i, m) for i in drawn(number, "again", m)]
    assert len(chosen) > N + 10
    return chosen


def found(method: Smv, count: int) -> tuple[Entries, dict[str, Tensor]]:
    """The epoch of the method, and the gradient of its mean loss."""
    fit = ready(method, count)
    made, total, parts = [], 0, []
    for batch in batches(method):
        for place, sample in enumerate(batch.index.tolist()):
            kept = [m for m in fit.model.modalities if m not in batch.dropped or not batch.dropped[m][place]]
            made.append((sample, kept[0] if len(kept) == 1 else ""))
        parts.append(method.loss(method.forward(batch), batch)["fused"] * len(batch.target))
        total += len(batch.target)
    (torch.stack(parts).sum() / total).backward()
    return made, {n: p.grad for n, p in fit.model.named_parameters() if p.grad is not None}


def require_rule(method: Smv, count: int, replaced: bool) -> None:
    chosen = expected(count, replaced)
    made, gradient = found(method, count)
    assert Counter(made) == Counter(chosen)
    torch.testing.assert_close(gradient, epoch_gradient(ready_plain(count), chosen), rtol=1e-9, atol=1e-12)


def ready_plain(count: int) -> Fit:
    names = NAMES[:count]
    return make_fit(Joint(), names, data=tiny_split(names, n=N, seed=4), seed=4, dtype=torch.float64)


def smv(variant: str, count: int) -> Smv:
    return Smv(variant=variant, level="modality", share=0.5, alpha=ALPHA[count])


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_another(count: int) -> None:
    require_rule(smv("official", count), count, replaced=True)
    require_rule(smv("paper", count), count, replaced=False)
    theirs = epoch_gradient(ready_plain(count), expected(count, replaced=True))
    _, mine = found(smv("paper", count), count)
    apart = sum((mine[name] - g).norm() ** 2 for name, g in theirs.items())
    assert apart > (1e-3) ** 2 * sum(g.norm() ** 2 for g in theirs.values())


class Replaced(Smv):
    """The defect in the rule of the paper."""

    @property
    def official(self) -> bool:
        return True


def test_the_defect_in_the_rule_of_the_paper_is_seen() -> None:
    with pytest.raises(AssertionError):
        require_rule(Replaced(level="modality", share=0.5, alpha=ALPHA[2]), 2, replaced=False)


def test_released_draws_repeat() -> None:
    made, _ = found(smv("official", 2), 2)
    assert max(Counter(entry for entry in made if entry[1]).values()) > 1
