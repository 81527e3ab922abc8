"""PDF: weights and loss by plain loops, prediction with the calibration, and what a sample lacks."""

import math

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch
from mcr_bench.datasets.base import Batch, Inputs
from mcr_bench.methods.predictive_dynamic_fusion import PredictiveDynamicFusion, fusion_weights, relative_calibration


def plain_weights(c: list[float], r: list[float] | None = None) -> list[float]:
    """The weights of one sample, of the expected probabilities c and calibrations r."""
    scores = []
    for m in range(len(c)):
        others = math.prod(c[:m] + c[m + 1 :])
        scores.append((c[m] + math.log(others) / math.log(math.prod(c))) * (r[m] if r else 1.0))
    total = sum(math.exp(s) for s in scores)
    return [math.exp(s) / total for s in scores]


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def plain_calibration(rows: list[list[float]]) -> list[float]:
    u = [sum(abs(p - 1 / len(row)) for p in softmax(row)) / len(row) for row in rows]
    return [min(1.0, u[m] / ((sum(u) - u[m]) / (len(u) - 1))) for m in range(len(u))]


def expectations(fit: Fit, features: dict[str, Tensor]) -> dict[str, list[float]]:
    made = {}
    for m, f in features.items():
        net = fit.model.extras["confidence"][m]
        hidden = (f @ net.first.weight.T + net.first.bias).clamp(min=0)
        hidden = (hidden @ net.second.weight.T + net.second.bias).clamp(min=0)
        made[m] = [1 / (1 + math.exp(-x)) for x in (hidden @ net.last.weight.T + net.last.bias)[:, 0].tolist()]
    return made


@pytest.mark.parametrize(("count", "classes"), [(2, 3), (3, 5), (4, 3)])
def test_loss_and_prediction_are_those_of_plain_loops(count: int, classes: int) -> None:
    method = PredictiveDynamicFusion(weight=0.7)
    fit = make_fit(method, NAMES[:count], Task(classes), dtype=torch.float64, optimizer__lr=0.1)
    for _ in range(3):
        step(method)
    batch = whole_batch(fit)
    outputs = method.forward(batch)
    terms = method.loss(outputs, batch)
    predicted = method.predict(fit.model, batch.inputs).logits
    c = expectations(fit, outputs.features)
    own = {m: z.tolist() for m, z in outputs.own_logits.items()}
    fused = errors = 0.0
    for i, y in enumerate(batch.target.tolist()):
        expected, rows = [c[m][i] for m in c], [own[m][i] for m in own]
        z, best = (
            [sum(w * row[k] for w, row in zip(weights, rows, strict=True)) for k in range(classes)]
            for weights in (plain_weights(expected), plain_weights(expected, plain_calibration(rows)))
        )
        assert predicted[i].tolist() == pytest.approx(best, rel=1e-8)
        assert outputs.logits[i].tolist() == pytest.approx(z, rel=1e-8)
        fused -= math.log(softmax(z)[y]) / len(batch.target)
        errors += sum(abs(p - softmax(row)[y]) for p, row in zip(expected, rows, strict=True)) / len(batch.target)
    assert terms["fused"].item() == pytest.approx(fused, rel=1e-8)
    found = torch.stack([t for name, t in terms.items() if name.startswith("confidence/")]).sum()
    assert found.item() == pytest.approx(0.7 * errors, rel=1e-8)
    assert set(terms) == {"fused", *(f"{k}/{m}" for k in ("own", "confidence") for m in NAMES[:count])}


def test_weights_and_calibration_by_hand() -> None:
    # c = (.8, .4): log .4 / log .32 = .8042, log .8 / log .32 = .1958; 1.6042 - .5958 = 1.0084
    logits = torch.tensor([[0.8], [0.4]], dtype=torch.float64).logit()
    assert fusion_weights(logits)[0].item() == pytest.approx(1 / (1 + math.exp(-1.0084)), abs=1e-4)
    # p = (.9, .1): u = .4; (.6, .4): .1; the third: (.5 + .2) = .3
    p = torch.tensor([[[0.9, 0.1]], [[0.6, 0.4]], [[0.8, 0.2]]], dtype=torch.float64)
    assert relative_calibration(p.log())[:, 0].tolist() == pytest.approx([1.0, 0.1 / 0.35, 1.0])
    assert relative_calibration(p[:2].log())[:, 0].tolist() == pytest.approx([1.0, 0.25])
    assert relative_calibration(torch.zeros(2, 1, 3))[:, 0].isfinite().all()


@pytest.mark.parametrize("size", [0.0, 40.0, 1e4])
def test_certain_nets_leave_the_weights_finite(size: float) -> None:
    for signs in ([1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]):
        weights = fusion_weights(size * torch.tensor(signs)[:, None])
        assert weights.isfinite().all()
        assert weights.sum().item() == pytest.approx(1.0)


def test_the_nets_learn_from_their_own_term_alone_and_teach_nobody() -> None:
    method = PredictiveDynamicFusion()
    fit = make_fit(method, dtype=torch.float64)
    batch = whole_batch(fit)
    terms = method.loss(method.forward(batch), batch)
    nets = list(fit.model.extras.parameters())
    rest = [p for n, p in fit.model.named_parameters() if not n.startswith(("extras", "fusion"))]
    of_nets = torch.stack([t for n, t in terms.items() if n.startswith("confidence/")]).sum()
    of_rest = torch.stack([t for n, t in terms.items() if not n.startswith("confidence/")]).sum()
    assert all(g is not None for g in torch.autograd.grad(of_nets, nets, allow_unused=True, retain_graph=True))
    assert all(g is None for g in torch.autograd.grad(of_nets, rest, allow_unused=True, retain_graph=True))
    assert all(g is None for g in torch.autograd.grad(of_rest, nets, allow_unused=True))


@pytest.mark.parametrize("count", [2, 3])
def test_what_a_sample_lacks_has_no_weight(count: int) -> None:
    method = PredictiveDynamicFusion()
    fit = make_fit(method, NAMES[:count], dtype=torch.float64)
    whole = whole_batch(fit)
    has = torch.arange(24) % 3 > 0
    inputs = Inputs(whole.inputs.values, present={"audio": has})
    batch = Batch(inputs, whole.target, whole.index)
    outputs, predicted = method.forward(batch), method.predict(fit.model, inputs).logits
    c = expectations(fit, outputs.features)
    for i in range(24):
        names = NAMES[:count] if has[i] else NAMES[1:count]
        rows, expected = [outputs.own_logits[m][i] for m in names], [c[m][i] for m in names]
        right = plain_calibration([row.tolist() for row in rows]) if len(names) > 1 else [1.0]
        for found, weights in (
            (outputs.logits, plain_weights(expected)),
            (predicted, plain_weights(expected, right)),
        ):
            want = torch.stack([w * row for w, row in zip(weights, rows, strict=True)]).sum(0)
            torch.testing.assert_close(found[i], want, rtol=1e-8, atol=1e-12)
    errors = [abs(c["audio"][i] - outputs.own_logits["audio"][i].softmax(0)[whole.target[i]].item()) for i in range(24)]
    want = sum(e for e, there in zip(errors, has.tolist(), strict=True) if there) / int(has.sum())
    assert method.loss(outputs, batch)["confidence/audio"].item() == pytest.approx(want, rel=1e-8)
