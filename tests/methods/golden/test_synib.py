"""SynIB: divergences by torch's distributions and by hand, what is destroyed, and the loss as a whole."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Dirichlet, Normal, kl_divergence

from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.synib import SynIB, anchor_divergence, dirichlet_divergence, normal_divergence
from mcr_bench.methods.terms.features.destroyed import destroyed_at_random, destroyed_by_gate, replacement_rates

DRAWS = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAWS, dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 5])
def test_divergences_are_those_of_torch(classes: int) -> None:
    z, v = 2 * drawn(7, classes), drawn(7, classes)
    want = kl_divergence(Normal(z, (v / 2).exp()), Normal(torch.zeros_like(z), torch.ones_like(z))).sum(1)
    torch.testing.assert_close(normal_divergence(z, v), want, rtol=1e-9, atol=1e-12)
    flat = Dirichlet(torch.ones_like(z))
    want = kl_divergence(Dirichlet((1 + z.exp()).log() + 1), flat)
    torch.testing.assert_close(dirichlet_divergence(z), want, rtol=1e-9, atol=1e-12)
    want = kl_divergence(Categorical(logits=v), Categorical(logits=z))
    torch.testing.assert_close(anchor_divergence(z, v), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", [dirichlet_divergence, lambda z: normal_divergence(z, z.flip(1))])
def test_gradients_are_those_of_finite_differences(rule: object) -> None:
    torch.autograd.gradcheck(rule, (drawn(3, 4).requires_grad_(),))


def test_rates_fall_as_a_cosine() -> None:
    rates = replacement_rates(5, 0.2, 0.8)
    for k in range(5):
        angle = (k / 4 + 0.008) / 1.008 * math.pi / 2
        assert rates[k].item() == pytest.approx(0.2 + 0.6 * math.cos(angle) ** 2, rel=1e-5)
    assert replacement_rates(1, 0.2, 0.8).item() == pytest.approx(0.8, abs=1e-3)


def test_entries_are_replaced_with_the_probability_of_the_draw_by_those_of_another_sample() -> None:
    features = drawn(400, 10)
    made = destroyed_at_random(features, torch.tensor([0.9, 0.3, 0.0]), "shuffle", torch.Generator().manual_seed(4))
    for version, rate in zip(made, (0.9, 0.3, 0.0), strict=True):
        assert (version != features).double().mean().item() == pytest.approx(rate, abs=0.03)
        for column in range(10):
            assert torch.isin(version[:, column], features[:, column]).all()
    whole = destroyed_at_random(features, torch.ones(1), "shuffle", torch.Generator().manual_seed(4))[0]
    source = [features[:, 0].tolist().index(x) for x in whole[:, 0].tolist()]
    assert torch.equal(whole, features[source]), "all entries of a sample come from one other"
    assert sorted(source) == list(range(400))


@pytest.mark.parametrize("fill", ["zeros", "noise"])
def test_other_fillings(fill: str) -> None:
    features = drawn(500, 8) + 20
    made = destroyed_at_random(features, torch.tensor([0.5]), fill, torch.Generator().manual_seed(4))[0]
    lost = made[made != features]
    assert lost.numel() == pytest.approx(2000, abs=150)
    assert lost.mean().item() == pytest.approx(0.0, abs=0.1)
    assert lost.std().item() == pytest.approx(0.0 if fill == "zeros" else 1.0, abs=0.1)


def test_the_gate_gives_up_what_the_own_head_needs() -> None:
    """The first feature tells the class, the others nothing."""
    y = torch.arange(40) % 2
    features = torch.cat([(4.0 * y - 2)[:, None], torch.ones(40, 3)], 1).double()

    def loss(f: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(torch.stack([-f[:, 0], f[:, 0]], 1), y)

    source = torch.Generator().manual_seed(1)
    made = destroyed_by_gate(features, loss, 0.001, "zeros", source)[0]
    gate = made / features
    assert gate[:, 0].max() < 0.4
    assert gate[:, 1:].min() > 0.7 > torch.sigmoid(torch.tensor(1.0)) - 0.04
    kept = destroyed_by_gate(features, loss, 100.0, "zeros", source)[0] / features
    assert kept.min() > 0.8
    none = destroyed_by_gate(features, loss, 1.0, "zeros", source, steps=0)[0]
    torch.testing.assert_close(none, features * (1 / (1 + math.exp(-1))))


def test_the_first_step_of_the_gate_is_that_of_adam_by_hand() -> None:
    """The first step of Adam has the length of the rate in the direction of the sign."""
    features, y = drawn(6, 3), torch.arange(6) % 3

    def loss(f: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(f, y)

    made = destroyed_by_gate(features, loss, 0.5, "zeros", torch.Generator(), steps=1)[0]
    logits = torch.ones_like(features, requires_grad=True)
    objective = -loss(logits.sigmoid() * features) + 0.5 * (1 - logits.sigmoid()).mean()
    (slope,) = torch.autograd.grad(objective, logits)
    torch.testing.assert_close(made, (1 - 0.1 * slope.sign()).sigmoid() * features, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("prior", ["normal", "dirichlet", "unimodal"])
@pytest.mark.parametrize(("count", "classes"), [(2, 3), (3, 4)])
@pytest.mark.parametrize("destroy", ["random", "learned"])
def test_the_loss_follows_from_what_was_destroyed(prior: str, count: int, classes: int, destroy: str) -> None:
    method = SynIB(weight=0.3, prior=prior, destroy=destroy, draws=3)
    fit = make_fit(method, NAMES[:count], Task(classes), fusion="concat-mlp", dtype=torch.float64)
    batch, model = whole_batch(fit), fit.model
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    for m in NAMES[:count]:
        versions, total = method.destroyed(outputs, m, batch), 0.0
        for version in versions:
            features = outputs.features | {m: version}
            z = model.fusion(features).logits
            if prior == "normal":
                head = model.extras["variance"].slices
                v = torch.stack([f @ head[n].weight.T + head[n].bias for n, f in features.items()]).sum(0)
                q, base = Normal(z, (v / 2).exp()), Normal(torch.zeros_like(z), torch.ones_like(z))
                total += kl_divergence(q, base).sum(1).mean().item() / len(versions)
            elif prior == "dirichlet":
                q = Dirichlet((1 + z.exp()).log() + 1)
                total += kl_divergence(q, Dirichlet(torch.ones_like(z))).mean().item() / len(versions)
            else:
                anchor = torch.stack([h for n, h in outputs.own_logits.items() if n != m]).mean(0)
                total += kl_divergence(Categorical(logits=anchor), Categorical(logits=z)).mean().item() / len(versions)
        assert terms[f"synergy/{m}"].item() == pytest.approx(0.3 * total, rel=1e-6)
        assert len(versions) == (3 if destroy == "random" else 1)


@pytest.mark.parametrize("prior", ["normal", "unimodal"])
def test_a_sample_that_lacks_the_destroyed_modality_does_not_count(prior: str) -> None:
    method = SynIB(prior=prior)
    fit = make_fit(method, NAMES[:3], dtype=torch.float64)
    whole = whole_batch(fit)
    has = torch.arange(24) % 3 > 0
    batch = Batch(Inputs(whole.inputs.values, present={"audio": has}), whole.target, whole.index)
    outputs = method.forward(batch)
    made = method.divergence(outputs, "audio", method.destroyed(outputs, "audio", batch), batch).mean(0)
    term = method.loss(outputs, batch)["synergy/audio"]
    assert term.item() == pytest.approx(0.1 * made[has].mean().item(), rel=1e-9)
    if prior == "unimodal":
        anchor, own = method.anchor(outputs, "video", batch), outputs.own_logits
        torch.testing.assert_close(anchor[has], (own["audio"] + own["text"])[has] / 2)
        torch.testing.assert_close(anchor[~has], own["text"][~has])
