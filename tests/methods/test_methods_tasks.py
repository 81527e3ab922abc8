"""Methods learn every kind of target through `Task`: no loss of their own, and closed forms that agree with it."""

import ast
from pathlib import Path

import pytest
import torch
from torch import Tensor

import mcr_bench.methods
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.planning.heads import usual_head
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, SMALL, make_fit, step, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.stepped import fitting
from mcr_bench.datasets.base import Facts
from mcr_bench.methods.ensemble import Ensemble
from mcr_bench.methods.mcr import MCR
from mcr_bench.methods.terms.distances import label_slopes
from mcr_bench.methods.terms.features.contrastive import nt_xent
from mcr_bench.methods.terms.games import game
from mcr_bench.methods.terms.scores import inverse_losses, squared_errors, surprisals, true_scores
from mcr_bench.methods.unimodal import Unimodal

FOLDER = Path(mcr_bench.methods.__file__).parent
LOSSES = (
    "cross_entropy",
    "l1_loss",
    "binary_cross_entropy",
    "nll_loss",
    "CrossEntropyLoss",
    "L1Loss",
    "BCE",
    "NLLLoss",
)
LABELS, SCORES = Task(None, labels=3), Task(None, scores=2)
SEVERAL = pytest.mark.parametrize("task", [LABELS, SCORES], ids=["labels", "scores"])


def losses_named(source: str) -> list[str]:
    """The losses of torch that a source names, by attribute, by name, or by import."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif isinstance(node, ast.Name):
            names.append(node.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names += [alias.name.split(".")[-1] for alias in node.names]
    return [name for name in names if name.startswith(LOSSES)]


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_no_method_computes_the_loss_of_a_task_itself(path: Path) -> None:
    assert losses_named(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from torch.nn import functional as F\nF.cross_entropy(z, y)",
        "from torch.nn.functional import binary_cross_entropy_with_logits",
        "import torch\nloss = torch.nn.functional.l1_loss",
        "import torch\nloss = torch.nn.BCEWithLogitsLoss()",
        "from torch.nn.functional import nll_loss as mine",
    ],
)
def test_the_rule_finds_losses(source: str) -> None:
    assert len(losses_named(source)) == 1


def drawn(task: Task, seed: int = 0, count: int = 6) -> tuple[dict[str, Tensor], Tensor]:
    draws = torch.Generator().manual_seed(seed)
    logits = {m: torch.randn(count, task.outputs, generator=draws, dtype=torch.float64) for m in NAMES[:3]}
    return logits, tiny_split(task=task, n=count).target


@pytest.mark.parametrize("task", [Task(5), LABELS, Task(None), SCORES], ids=["classes", "labels", "score", "scores"])
def test_scores_of_modalities_are_those_of_the_task(task: Task) -> None:
    logits, target = drawn(task)

    def means(one: dict[str, Tensor]) -> Tensor:
        return torch.stack([value.mean() for value in one.values()])

    torch.testing.assert_close(
        true_scores(logits, target, task), means({m: task.true_score(z, target) for m, z in logits.items()})
    )
    torch.testing.assert_close(
        surprisals(logits, target, task), means({m: task.per_sample(z, target) for m, z in logits.items()})
    )
    if task.regression:
        losses = means({m: task.per_sample(z, target) for m, z in logits.items()})
        torch.testing.assert_close(inverse_losses(logits, target, task), 1 / (losses + 1e-8))
        errors = {m: (task.prediction(z) - target).square().float() for m, z in logits.items()}
        torch.testing.assert_close(squared_errors(logits, target).float(), means(errors))


@pytest.mark.parametrize("task", [Task(5), Task(2), LABELS], ids=["classes", "two classes", "labels"])
def test_the_distance_of_the_game_is_that_of_the_task(task: Task) -> None:
    (a, _), (b, _) = drawn(task), drawn(task, seed=1)
    one, other = (x["audio"].requires_grad_() for x in (a, b))
    copies = torch.stack([one, 2 * one])  # (P, B, C)
    mine = game.distance_of(task)(copies, other)
    plain = task.distance(copies, other).mean()
    torch.testing.assert_close(mine, plain)
    for ours, wanted in zip(
        *(torch.autograd.grad(x, (one, other), retain_graph=True) for x in (mine, plain)), strict=True
    ):
        torch.testing.assert_close(ours, wanted)


def test_the_game_of_scores_is_their_squared_difference() -> None:
    (a, _), (b, _) = drawn(SCORES), drawn(SCORES, seed=1)
    one, other = a["audio"], b["audio"]
    torch.testing.assert_close(game.distance_of(SCORES)(one, other), (one - other).square().mean())


def test_slopes_of_labels_by_coalition() -> None:
    """(L, S, P, B): each coalition's distance is that of its own outputs."""
    logits, reference = (torch.randn(shape, dtype=torch.float64) for shape in ((3, 2, 4, 5), (3, 5)))
    found = label_slopes(logits, reference)
    for s in range(2):
        of_one = LABELS.distance(logits[:, s].movedim(0, -1), reference.T).mean()
        torch.testing.assert_close(found.values[s], of_one)
    assert found.outputs.shape == (3, 2, 4, 5)
    assert found.reference.shape == (3, 2, 5)


def test_samples_are_positives_if_all_their_labels_are_equal() -> None:
    rows = torch.tensor([[0, 1], [1, 1], [0, 1], [1, 0], [1, 1]])
    draws = torch.Generator().manual_seed(0)
    features = {m: torch.randn(5, 4, generator=draws) for m in NAMES[:2]}
    torch.testing.assert_close(nt_xent(features, rows, 0.5), nt_xent(features, torch.tensor([7, 2, 7, 5, 2]), 0.5))


def trained(name: str, task: Task, fusion: str, count: int) -> None:
    cls = registry.method(name)
    names = NAMES[:1] if cls.role == "unimodal" else NAMES[:count]
    method = cls()
    singles = [Unimodal() for _ in method.requires(names)]
    starts = [
        make_fit(one, need.modalities, task, fusion=fusion).model.state_dict()
        for one, need in zip(singles, method.requires(names), strict=True)
    ]
    encoder = fitting(SMALL, fusion_kinds()[fusion])
    fit = make_fit(method, names, task, fusion=fusion, encoder=encoder, dependencies=starts)
    if cls.trains:
        before = {key: value.clone() for key, value in fit.model.state_dict().items()}
        for _ in range(2):
            step(method)
        after = fit.model.state_dict()
        assert any(not torch.equal(before[key], after[key]) for key in before)
        assert all(p.isfinite().all() for p in after.values())
    fit.model.eval()
    outputs = method.predict(fit.model, whole_batch(fit).inputs)
    assert outputs.logits.shape == (24, task.outputs)
    assert fit.task.loss(outputs.logits, fit.train.target).isfinite()


@SEVERAL
@pytest.mark.parametrize("name", [n for n in registry.method_names() if not registry.method(n).needs.classification])
def test_every_method_learns_several_labels_and_scores(name: str, task: Task) -> None:
    if reason := registry.method(name).needs.unmet(2, task):
        pytest.skip(reason)
    trained(name, task, usual_head(registry.method(name)).name, 2)


@SEVERAL
@pytest.mark.parametrize("name", ["mcr", "agm"])
def test_closed_forms_serve_other_heads_and_more_modalities(name: str, task: Task) -> None:
    trained(name, task, "concat-mlp", 3)


@SEVERAL
def test_the_game_in_closed_form_is_the_game_head_by_head(task: Task) -> None:
    """An additive head gives the same terms whether it is played at once or one coalition after the other."""
    method = MCR(perturb="zero_latent", permutations=1)
    fit = make_fit(method, NAMES[:3], task, dtype=torch.float64)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    branches = outputs.branch_logits
    assert branches is not None
    whole = outputs.logits
    terms = []
    for coalition in game.coalitions(list(branches)):
        rest = sum(z for m, z in branches.items() if m not in coalition)
        terms.append(game.distance_of(task)(rest + (whole - sum(branches.values())), whole))
    torch.testing.assert_close(-method.loss(outputs, batch)["mipd"], method.lambda_mipd * torch.stack(terms).sum())


def test_the_ensemble_says_which_rule_labels_do_not_have() -> None:
    facts = Facts({}, LABELS)
    assert "half of all logits" in (Ensemble(rule="standardised").skip(facts) or "")
    assert Ensemble().skip(facts) is None
    assert Ensemble(rule="standardised").skip(Facts({}, Task(3))) is None


def test_the_ensemble_of_labels_has_their_mean_probability() -> None:
    names = NAMES[:2]
    starts = [make_fit(Unimodal(), (m,), LABELS, seed=i).model.state_dict() for i, m in enumerate(names)]
    method = Ensemble()
    fit = make_fit(method, names, LABELS, dependencies=starts)
    fit.model.eval()
    inputs = whole_batch(fit).inputs
    members = fit.model(inputs).own_logits.values()
    mean = torch.stack([torch.sigmoid(z) for z in members]).mean(0)
    torch.testing.assert_close(torch.sigmoid(method.predict(fit.model, inputs).logits), mean)
