"""MIDAS: which samples are put together, and labels, weights, losses and gradients by plain loops over what was."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split, whole_batch
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.bench.testing.trials.setups import Setup
from mcr_bench.datasets.base import Batch, Inputs, Split
from mcr_bench.methods.midas import Midas
from mcr_bench.methods.multi_loss import MultiLoss
from mcr_bench.methods.terms.features.taken import taken
from mcr_bench.methods.terms.sampling.exchange import exchanged, partners

DOUBLE = {"dtype": torch.float64}
Sources = list[list[int]]  # of each misaligned sample: the sample that each modality comes from


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("count", "classes", "seed"), [(1, 3, 0), (2, 4, 1), (3, 2, 2)])
def test_partners_are_usable_different_and_of_another_class(count: int, classes: int, seed: int) -> None:
    y, usable = torch.arange(20) % classes, torch.arange(20) % 5 != 3
    others, valid = partners(y, usable, drawn(20, 20, seed=seed), count)
    assert others.shape == (count, 20)
    assert torch.equal(valid, usable)
    for i in usable.nonzero()[:, 0].tolist():
        taken = others[:, i].tolist()
        assert len(set(taken)) == count
        assert all(usable[j] and y[j] != y[i] for j in taken)
    counts = torch.zeros(20)
    for draw in range(200):
        counts += torch.bincount(partners(y, usable, drawn(20, 20, seed=draw), 1)[0][0][usable], minlength=20)
    assert (counts[usable] > 100).all(), "all of them come"


def test_partners_where_there_are_few_or_none() -> None:
    y = torch.tensor([0, 0, 0, 1])
    others, valid = partners(y, torch.ones(4, dtype=torch.bool), drawn(4, 4), 3)
    assert valid.all()
    assert others[:, :3].tolist() == [[3] * 3] * 3
    assert sorted(others[:, 3].tolist()) == [0, 1, 2]
    assert not partners(torch.zeros(3), torch.ones(3, dtype=torch.bool), drawn(3, 3), 1)[1].any()
    assert partners(torch.zeros(1), torch.ones(1, dtype=torch.bool), drawn(1, 1), 2)[0].shape == (2, 1)


def test_two_modalities_are_exchanged_both_ways() -> None:
    found = exchanged(torch.tensor([[2, 0, 1]]), torch.tensor([[0, 1, 0], [1, 0, 1]]))
    assert found[0].tolist() == [[0, 0, 2], [2, 1, 1]]
    assert found[1].tolist() == [[2, 1, 1], [0, 0, 2]]


@pytest.mark.parametrize("count", [3, 4])
def test_each_misaligned_sample_has_one_modality_of_its_own(count: int) -> None:
    others = torch.arange(5) + 5 * torch.arange(1, count)[:, None]  # as if there were 5 count samples
    found = exchanged(others, drawn(count, 5).argsort(0).argsort(0))
    assert found.shape == (count, count, 5)
    for i in range(5):
        every = {i, *others[:, i].tolist()}
        for r in range(count):
            assert {*found[r, :, i].tolist()} == every
            assert {*found[:, r, i].tolist()} == every


class Watched:
    """A method whose misaligned samples are read off the features that reach the fusion head."""

    def __init__(self, method: Midas, count: int, classes: int = 3, n: int = 12) -> None:
        self.names, self.method = NAMES[:count], method
        data = tiny_split(self.names, Task(classes), n=n, seed=count)
        training = {"optimizer__name": "sgd", "optimizer__lr": 0.1, "optimizer__momentum": 0.0, **DOUBLE}
        self.fit = make_fit(method, self.names, Task(classes), data=data, **training)
        self.simple = MultiLoss()
        self.plain = make_fit(self.simple, self.names, Task(classes), data=data, **training)
        self.fit.epoch, self.seen = 9, list[dict[str, Tensor]]()
        for encoder in (*self.fit.model.encoders.values(), *self.plain.model.encoders.values()):
            encoder.register_forward_hook(lambda _, inputs, f: f + inputs[0][:, :1])  # no two samples are the same
        fuse = self.fit.model.fuse

        def watched(features: dict[str, Tensor]) -> object:
            self.seen.append(features)
            return fuse(features)

        vars(self.fit.model)["fuse"] = watched

    def sources(self, features: dict[str, Tensor]) -> Sources:
        mixed = self.seen[-1]
        rows = range(len(next(iter(mixed.values()))))
        return [[int((features[m] == mixed[m][row]).all(1).nonzero()[0, 0]) for m in self.names] for row in rows]

    def expected(self, sources: Sources, alpha: list[float], hard: str = "shifted") -> tuple[Tensor, Tensor, Tensor]:
        """L_mis, and for each misaligned sample the confidences of own heads and fusion head in its sources."""
        model, y = self.plain.model, self.plain.train.target
        features = model.encode(whole_batch(self.plain).inputs)
        p = {m: (f @ model.own_heads[m].weight.T + model.own_heads[m].bias).softmax(1) for m, f in features.items()}
        losses, mine, theirs = [], [], []
        for row, source in enumerate(sources):
            i = row % len(y)
            c = [p[m][k, y[k]].item() for m, k in zip(self.names, source, strict=True)]
            c = [one / sum(c) for one in c]
            parts = [features[m][k] @ model.fusion.slices[m].weight.T for m, k in zip(self.names, source, strict=True)]
            q = (sum(parts) + model.fusion.bias).softmax(0)
            cosines = []
            for m, k in zip(self.names, source, strict=True):
                if k != i:
                    a, b = features[m][k].detach(), features[m][i].detach()
                    cosines.append(float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)))
            cosine = sum(cosines) / len(cosines)
            s = {"shifted": 1 + (cosine + 1) / 2, "cosine": cosine, "none": 1.0}[hard]
            label = sum(-a * one * q[y[k]].log() for a, one, k in zip(alpha, c, source, strict=True))
            losses.append(s * label)
            mine.append(c)
            right = [q[y[k]].item() for k in source]
            theirs.append([one / sum(right) for one in right])
        return torch.stack(losses).mean(), torch.tensor(mine), torch.tensor(theirs)


@pytest.mark.parametrize(
    ("count", "classes", "hard"), [(2, 3, "shifted"), (2, 4, "cosine"), (3, 3, "none"), (3, 4, "shifted")]
)
def test_loss_and_gradient(count: int, classes: int, hard: str) -> None:
    trial = Watched(method := Midas(weight=1.7, hard=hard), count, classes)
    fit, batch = trial.fit, whole_batch(trial.fit)
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    method.backward(terms)
    sources = trial.sources(outputs.features)
    assert len(sources) == count * len(batch.target)
    for row, source in enumerate(sources):
        i = row % len(batch.target)
        assert source.count(i) == 1
        assert all(batch.target[k] != batch.target[i] for k in source if k != i)
    loss, _, _ = trial.expected(sources, [1.0] * count, hard)
    assert terms["misaligned"].item() == pytest.approx(1.7 * loss.item(), rel=1e-6)
    plain = trial.plain.model(batch.inputs)
    total = 1.7 * loss + trial.plain.task.loss(plain.logits, batch.target)
    for h in plain.own_logits.values():
        total = total + trial.plain.task.loss(h, batch.target)
    total.backward()
    for name, p in trial.plain.model.named_parameters():
        torch.testing.assert_close(fit.model.get_parameter(name).grad, p.grad, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("update", ["difference", "sign"])
@pytest.mark.parametrize(("count", "eta"), [(2, 3.0), (3, 0.4)])
def test_the_weak_modality_gains_weight(count: int, eta: float, update: str) -> None:
    """Four steps: alpha of each by hand from the confidences in the samples of the step before."""
    trial = Watched(method := Midas(eta=eta, update=update), count)
    fit, batch, alpha, raised = trial.fit, whole_batch(trial.fit), [1.0] * count, 0
    for _ in range(60):
        step(trial.simple)
    fit.model.load_state_dict(trial.plain.model.state_dict())
    with torch.no_grad():  # audio is the least confident one, and the fusion head does not hear it
        fit.model.own_heads["audio"].weight.mul_(0.3)
        fit.model.fusion.slices["audio"].weight.mul_(0.01)
    method.on_epoch_start()
    for number in range(4):
        trial.plain.model.load_state_dict(fit.model.state_dict())
        features = {m: f.detach() for m, f in fit.model.encode(batch.inputs).items()}
        fit.meters.means()
        step(method)
        told = fit.meters.means()
        assert [told[f"coefficient/{m}"] for m in trial.names] == pytest.approx(alpha, abs=1e-6), number
        loss, mine, theirs = trial.expected(trial.sources(features), alpha)
        assert told["loss/misaligned"] == pytest.approx(loss.item(), rel=1e-5)
        weakest = int(mine.mean(0).argmin())
        gap = float(mine.mean(0)[weakest] - theirs.mean(0)[weakest])
        gap = math.copysign(1, gap) if update == "sign" else gap
        alpha = [max(1.0, a + eta * gap) if k == weakest else 1.0 for k, a in enumerate(alpha)]
        raised += max(alpha) > 1.0001
    assert raised
    method.on_epoch_start()
    fit.meters.means()
    step(method)
    told = fit.meters.means()
    assert [told[f"coefficient/{m}"] for m in trial.names] == [1.0] * count


@pytest.mark.parametrize(("count", "seed"), [(2, 1), (3, 2)])
def test_the_weak_modality_gains_weight_in_a_short_run_of_few_steps(count: int, seed: int) -> None:
    """With the settings that it has by default, where audio is mostly noise."""
    names = NAMES[:count]
    data = tiny_split(names, n=120, seed=seed)
    data.values["audio"] = data.values["audio"] + 2 * torch.randn(120, 5, generator=torch.Generator().manual_seed(seed))
    fit = make_fit(method := Midas(), names, data=data, batch_size=12, epochs=20, optimizer__lr=0.005)
    largest = 1.0
    for _ in range(20):
        fit.meters.means()
        train(method, 1)
        largest = max(largest, fit.meters.means().get("coefficient/audio", 1.0))
    assert largest > 1.02


def test_the_warm_up_trains_the_own_heads_and_encoders_alone() -> None:
    for warmup in (0, 3):
        method = Midas(warmup=warmup)
        fit = make_fit(method, **DOUBLE)
        batch = whole_batch(fit)
        for epoch in (1, 2, 3, 4):
            fit.epoch = epoch
            terms = method.loss(method.forward(batch), batch)
            own = {"own/audio", "own/video"}
            assert set(terms) == (own if epoch <= warmup else {"fused", "misaligned", *own})


def test_samples_that_lack_a_modality_are_not_exchanged() -> None:
    """Their inputs, and those of samples of which a modality is dropped, change nothing of the term."""
    part = Setup(NAMES[:3], partly=True, dtype=torch.float64).part(NAMES[:3])
    losses = []
    for factor in (1.0, -3.0):
        method = Midas(warmup=0)
        fit = make_fit(method, NAMES[:3], data=part, **DOUBLE)
        fit.epoch = 1
        batch = whole_batch(fit)
        dropped = {"text": batch.index % 7 == 0}
        complete = torch.stack([*batch.inputs.present.values(), ~dropped["text"]]).all(0)
        values = {
            m: torch.where(complete.reshape(-1, *[1] * (x.ndim - 1)), x, factor * x)
            for m, x in batch.inputs.values.items()
        }
        changed = replace(batch, inputs=batch.inputs.replace(values), dropped=dropped)
        losses.append(method.loss(method.forward(changed), changed)["misaligned"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert losses[0] > 0


def test_a_batch_of_one_class_has_no_misaligned_samples() -> None:
    method = Midas(eta=5.0, update="sign")
    fit = make_fit(method, **DOUBLE)
    fit.epoch = 9
    step(method)
    alone = fit.train.batch((fit.train.target == 1).nonzero()[:, 0])
    fit.meters.means()
    step(method, alone)
    told = fit.meters.means()
    assert told["loss/misaligned"] == 0
    step(method, alone)
    after = fit.meters.means()
    assert [after[f"coefficient/{m}"] for m in NAMES[:2]] == [told[f"coefficient/{m}"] for m in NAMES[:2]]


def test_draws_change_with_the_step() -> None:
    trial = Watched(method := Midas(), 2)
    batch: Batch = whole_batch(trial.fit)
    seen = []
    for trial.fit.step in (1, 2):
        outputs = method.forward(batch)
        method.loss(outputs, batch)
        seen.append(trial.sources(outputs.features))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("head", ["cross-modal", "central-path"])
def test_tokens_and_stages_go_along(head: str) -> None:
    """Samples that are put together are for the head what inputs that are put together are."""
    encoder = build(EncoderSettings, {"kind": "conv1d", "width": 4, "depth": 2})
    lengths = {"video": 2 + torch.arange(6) % 4}
    values = {m: drawn(6, 6, 3, seed=i).double() for i, m in enumerate(NAMES[:2])}
    values["video"] *= (torch.arange(6) < lengths["video"][:, None])[..., None]
    data = Split(values, torch.arange(6) % 3, [f"s{i}" for i in range(6)], lengths=lengths)
    fit = make_fit(Midas(), fusion=head, encoder=encoder, data=data, **DOUBLE)
    fit.model.eval()
    batch, index = whole_batch(fit), {"audio": torch.tensor([0, 3, 2, 5]), "video": torch.tensor([1, 4, 0, 5])}
    found = fit.model.fuse(taken(fit.model.encode(batch.inputs), index)).logits
    together = Inputs({m: values[m][i] for m, i in index.items()}, {"video": lengths["video"][index["video"]]})
    torch.testing.assert_close(found, fit.model(together).logits, rtol=1e-9, atol=1e-12)
