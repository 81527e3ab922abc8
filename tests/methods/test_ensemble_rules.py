"""The ensemble's rules: batch-standardised logits as the released code sums them, and where the rules part."""

import numpy as np
import pytest
import torch

from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, tiny_split
from mcr_bench.bench.training.evaluation import evaluate
from mcr_bench.methods.ensemble import Ensemble, standardised_sum
from mcr_bench.methods.joint import Joint


def by_hand(members: list[np.ndarray], size: int) -> np.ndarray:
    total = np.zeros_like(members[0])
    for logits in members:
        for first in range(0, len(logits), size):
            block = logits[first : first + size]
            total[first : first + size] += (block - block.mean()) / block.std(ddof=1)
    return total


def test_one_block_by_hand() -> None:
    """Logits 0..3 have mean 1.5 and variance 5/3; adding or multiplying changes nothing."""
    member = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    expected = (member - 1.5) / (5 / 3) ** 0.5
    torch.testing.assert_close(standardised_sum([member], 2), expected)
    torch.testing.assert_close(standardised_sum([member, 10 * member - 7], 2), 2 * expected)


@pytest.mark.parametrize("rows", [1, 8, 19])
def test_blocks_of_the_batch_size_in_order_the_last_one_short(rows: int) -> None:
    draw = torch.Generator().manual_seed(rows)
    members = [torch.randn(rows, 3, generator=draw), 5 * torch.randn(rows, 3, generator=draw) + 2]
    found = standardised_sum(members, 8)
    np.testing.assert_allclose(found.numpy(), by_hand([m.numpy() for m in members], 8), atol=1e-5)


def test_a_block_of_equal_logits_is_zero() -> None:
    assert standardised_sum([torch.full((4, 3), 7.0)], 4).tolist() == [[0.0] * 3] * 4


@pytest.mark.parametrize(("count", "batch"), [(2, 5), (3, 16)])
def test_an_evaluation_standardises_over_batches_of_the_run(count: int, batch: int) -> None:
    names = NAMES[:count]
    runs = [make_fit(Joint(), (m,), seed=i).model.state_dict() for i, m in enumerate(names)]
    method = Ensemble(rule="standardised")
    fit = make_fit(method, names, dependencies=runs, batch_size=batch)
    fit.model.eval()
    part = tiny_split(names, n=47, seed=3)
    found = evaluate(method, fit.model, part, None, 4 * batch)
    own = [found.modality_logits[m].numpy() for m in names]
    np.testing.assert_allclose(found.logits.numpy(), by_hand(own, batch), atol=1e-5)


def test_the_rules_disagree_where_one_member_is_loud() -> None:
    """A member with large logits rules the mean of logits, not the standardised sum."""
    loud = torch.tensor([[30.0, 0.0], [0.0, 30.0]])
    quiet = torch.tensor([[0.0, 0.3], [0.0, 0.2]])
    assert Task(2).combine([loud, quiet], "logits").argmax(-1).tolist() == [0, 1]
    assert standardised_sum([loud, quiet], 2).argmax(-1).tolist() == [1, 1]


def test_a_regression_averages_its_outputs_whatever_the_rule() -> None:
    runs = [make_fit(Joint(), (m,), Task(None)).model.state_dict() for m in NAMES[:2]]
    found = []
    for rule in ("probabilities", "logits", "standardised"):
        method = Ensemble(rule=rule)
        fit = make_fit(method, task=Task(None), dependencies=runs)
        fit.model.eval()
        found.append(method.predict(fit.model, fit.train.batch(torch.arange(9)).inputs).logits)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_the_published_ensemble_row_says_how_it_differs() -> None:
    notes = [" ".join(table.notes) for table in published_tables([]) if "Table 1" in table.title]
    assert any("Ensemble: the paper sums batch-standardised logits" in note for note in notes)
