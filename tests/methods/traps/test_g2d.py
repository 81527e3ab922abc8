"""G2D's official code holds back 4-D weights alone, lets momentum and decay move them, and ranks in every batch."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.testing.fits import NAMES, make_fit
from mcr_bench.datasets.base import Batch, Split
from mcr_bench.methods import g2d
from mcr_bench.methods.base import Method
from mcr_bench.methods.g2d import G2d
from mcr_bench.tests.methods.golden.teachers import taught, unimodal_runs

IMAGES = build(EncoderSettings, {"kind": "conv2d", "width": 3, "depth": 2})
LR, DECAY, MOMENTUM = 0.1, 0.05, 0.9
Weights = dict[str, Tensor]


def images(names: tuple[str, ...]) -> Split:
    target = torch.arange(12) % 3
    draw = torch.Generator().manual_seed(0)
    values = {
        m: torch.randn(12, 1, 6, 6, dtype=torch.float64, generator=draw) + 0.4 * i * target[:, None, None, None]
        for i, m in enumerate(names)
    }
    return Split(values, target, [f"s{i}" for i in range(12)])


class Trial:
    """Two steps of a method in its first phase, on batches that rank the teachers otherwise than all samples do."""

    def __init__(self, method: G2d, count: int) -> None:
        self.names, data = NAMES[:count], images(NAMES[:count])
        self.runs = unimodal_runs(self.names, encoder=IMAGES, data=data)
        training = {"name": "sgd", "lr": LR, "weight_decay": DECAY, "momentum": MOMENTUM}
        self.method, self.fit = (
            method,
            make_fit(
                method,
                self.names,
                dtype=torch.float64,
                encoder=IMAGES,
                data=data,
                dependencies=self.runs,
                **{f"optimizer__{key}": value for key, value in training.items()},
            ),
        )
        self.fit.epoch = 1
        scores = self.scores(data.batch(torch.arange(12)))
        self.weakest = min(scores, key=lambda m: float(scores[m].mean()))
        others = torch.stack([s for m, s in scores.items() if m != self.weakest])
        order = (scores[self.weakest] - others.max(0).values).argsort()
        self.batches = [data.batch(order[-4:]), data.batch(order[:4])]

    def scores(self, batch: Batch) -> Weights:
        """Modality -> the probability (B,) that its teacher gives the true class."""
        _, logits = taught(self.fit.model, self.runs, self.names, batch.inputs.values)
        return {m: z.softmax(1).gather(1, batch.target[:, None])[:, 0] for m, z in logits.items()}

    def gradients(self, weights: Weights, batch: Batch) -> Weights:
        """Of all that is learned, at these weights."""
        leaves = {k: v.clone().requires_grad_() for k, v in weights.items() if not k.startswith("fusion")}
        model, parts = self.fit.model, {}
        for m in self.names:
            inside = {k.removeprefix(f"encoders.{m}."): v for k, v in leaves.items() if k.startswith(f"encoders.{m}.")}
            parts[m] = torch.func.functional_call(model.encoders[m], inside, (batch.inputs.values[m],))
        own = [f @ leaves[f"own_heads.{m}.weight"].T + leaves[f"own_heads.{m}.bias"] for m, f in parts.items()]
        z = torch.stack(own).mean(0)
        features, logits = taught(model, self.runs, self.names, batch.inputs.values)
        loss = functional.cross_entropy(z, batch.target)
        for m in self.names:
            loss = loss + functional.kl_div(z.log_softmax(1), logits[m].softmax(1), reduction="batchmean")
            loss = loss + functional.mse_loss(parts[m], features[m])
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    def expected(self, official: bool) -> tuple[Weights, list[Weights]]:
        """The weights after two steps of SGD by the rule, and the gradients that it lets through."""
        weights = {k: v.detach().clone() for k, v in self.fit.model.named_parameters()}
        buffers: Weights = {}
        seen = []
        for batch in self.batches:
            scores = {m: float(s.sum()) for m, s in self.scores(batch).items()}
            learns = min(scores, key=scores.__getitem__) if official else self.weakest
            seen.append({})
            for name, g in self.gradients(weights, batch).items():
                held = name.startswith("encoders.") and not name.startswith(f"encoders.{learns}.")
                if held and not official:
                    continue
                g = g * 0 if held and g.ndim == 4 else g
                seen[-1][name] = g
                decayed = g + DECAY * weights[name]
                buffers[name] = MOMENTUM * buffers[name] + decayed if name in buffers else decayed
            for name in seen[-1]:
                weights[name] = weights[name] - LR * buffers[name]
        return weights, seen

    def found(self) -> tuple[Weights, list[Weights]]:
        """The same of the method."""
        seen = []
        self.fit.model.train()
        for batch in self.batches:
            self.method.train_step(batch)
            seen.append({n: p.grad.clone() for n, p in self.fit.model.named_parameters() if p.grad is not None})
        return {n: p.detach().clone() for n, p in self.fit.model.named_parameters()}, seen


def require_rule(method: G2d, count: int, official: bool) -> None:
    trial = Trial(method, count)
    (weights, seen), (mine, made) = trial.expected(official), trial.found()
    torch.testing.assert_close(mine, weights, rtol=1e-9, atol=1e-12)
    assert [sorted(one) for one in made] == [sorted(one) for one in seen]
    torch.testing.assert_close(made, seen, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_another(count: int) -> None:
    require_rule(G2d(variant="official"), count, official=True)
    require_rule(G2d(variant="paper"), count, official=False)
    trial = Trial(G2d(variant="paper"), count)
    (_, released), (_, made) = trial.expected(official=True), trial.found()
    for theirs, mine in zip(released, made, strict=True):
        apart = sum((g - mine.get(name, torch.zeros_like(g))).norm() ** 2 for name, g in theirs.items())
        assert apart > (1e-3) ** 2 * sum(g.norm() ** 2 for g in theirs.values())


def test_the_second_batch_ranks_otherwise_than_all_samples_do() -> None:
    trial = Trial(G2d(), 2)
    means = [{m: float(s.mean()) for m, s in trial.scores(batch).items()} for batch in trial.batches]
    first, second = (min(one, key=one.__getitem__) for one in means)
    assert first != second


class OfConvolutions(G2d):
    """The first defect."""

    def train_step(self, batch: Batch) -> None:
        held = [p for m in self.held_back() for p in self.fit.model.parameters_of(m, "encoder")]
        with g2d.without_gradient([p for p in held if p.ndim == 4]):
            Method.train_step(self, batch)


class StillMoving(G2d):
    """The second one."""

    def train_step(self, batch: Batch) -> None:
        Method.train_step(self, batch)

    def after_backward(self, outputs: object, batch: Batch) -> None:
        for m in self.held_back():
            for p in self.fit.model.parameters_of(m, "encoder"):
                p.grad = torch.zeros_like(p)


class RankedByBatch(G2d):
    """The third one."""

    def train_step(self, batch: Batch) -> None:
        score = partial(self.fit.task.true_score, target=batch.target)
        features = {m: self.teachers.features(m, batch) for m in self.fit.model.modalities}
        means = {m: float(score(self.teachers.logits(m, made)).mean()) for m, made in features.items()}
        vars(self)["ranking"] = sorted(means, key=means.__getitem__)
        super().train_step(batch)


@pytest.mark.parametrize("defect", [OfConvolutions, StillMoving, RankedByBatch])
def test_each_defect_in_the_rule_of_the_paper_is_seen(defect: type[G2d]) -> None:
    with pytest.raises(AssertionError):
        require_rule(defect(), 2, official=False)
