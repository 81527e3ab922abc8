"""Under bf16 nothing is lost in losses, divergences, attributions and heads: they equal float64 on the same features.

What autocast may round are the features of the encoders. From there on a term is computed in float32, so that it equals
the same term in float64 within 1e-5, where bfloat16 would be off by 1e-2 and more.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.fusions.late_linear import LateLinear
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.bench.settings import build
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import make_fit, whole_batch
from mcr_bench.bench.training.probes import Probes
from mcr_bench.methods.terms.attribution import contributions
from mcr_bench.methods.terms.features.ceb import FeatureDecoder, ceb
from mcr_bench.methods.terms.features.contrastive import nt_xent
from mcr_bench.methods.terms.games.game import jensen_shannon, squared_difference

TOLERANCE = 1e-5
NAMES = ("audio", "video")
# Heads of features alone: those that read tokens or stages do not compute in full precision.
KINDS = sorted(name for name, kind in fusion_kinds().items() if kind.at_least <= 2 <= kind.at_most and not kind.reads)
# Saturated, nearly equal, and far apart; all of them numbers of bfloat16.
LOGITS = {
    "saturated": torch.tensor([[96.0, -96.0, 0.0], [0.0, 64.0, -80.0]]),
    "near": torch.tensor([[1.0, 1.0078125, 0.9921875], [4.0, 4.03125, 4.0]]),
    "far": torch.tensor([[-12.0, 3.0, 7.5], [0.5, -0.25, 0.125]]),
}


@contextmanager
def autocast() -> Iterator[None]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


def features(seed: int, scale: float = 1.0, rows: int = 7, width: int = 6) -> dict[str, Tensor]:
    """Features as an encoder gives them under autocast."""
    torch.manual_seed(seed)
    return {m: (scale * torch.randn(rows, width)).bfloat16() for m in NAMES}


def close(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted.double(), rtol=TOLERANCE, atol=TOLERANCE)


def drawn(module: torch.nn.Module, seed: int = 0) -> None:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)


def head_of(kind: str) -> Fusion:
    head = fusion_kinds()[kind].make(list(NAMES), 6, 3, {"conditioning": ""})
    drawn(head)
    return head


@pytest.mark.parametrize("shape", LOGITS)
@pytest.mark.parametrize("other", LOGITS)
def test_divergences_of_bf16_logits(shape: str, other: str) -> None:
    p, q = (LOGITS[name].double().log_softmax(-1) for name in (shape, other))
    middle = ((p.exp() + q.exp()) / 2).log()
    terms = torch.where(p.exp() > 0, p.exp() * (p - middle), 0) + torch.where(q.exp() > 0, q.exp() * (q - middle), 0)
    with autocast():
        close(jensen_shannon(LOGITS[shape].bfloat16(), LOGITS[other].bfloat16()), terms.sum(-1).mean() / 2)


@pytest.mark.parametrize("shape", LOGITS)
def test_losses_and_combinations_of_bf16_logits(shape: str) -> None:
    logits, target = LOGITS[shape], torch.tensor([0, 2])
    exact = logits.double()
    for inside in (True, False):  # a method may ask for a loss after the backward pass, outside autocast
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=inside):
            low = logits.bfloat16()
            close(Task(3).loss(low, target), torch.nn.functional.cross_entropy(exact, target))
            close(Task(None).loss(low[:, :1], exact[:, 1].float()), (exact[:, 0] - exact[:, 1]).abs().mean())
            mean = torch.stack([exact.softmax(-1), exact.flip(-1).softmax(-1)]).mean(0).log()
            close(Task(3).combine([low, low.flip(-1)], "probabilities"), mean)
            close(Task(3).combine([low, 3 * low], "logits"), (exact + (3 * low).double()) / 2)
            close(squared_difference(low[:, :1], low[:, 1:2]), (exact[:, 0] - exact[:, 1]).square().mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_fusion_heads_and_attribution_under_autocast(kind: str, scale: float) -> None:
    head, given = head_of(kind), features(1, scale)
    exact = head_of(kind).double()
    with autocast():
        fused = head(given)
    doubled = {m: f.double() for m, f in given.items()}
    wanted = exact(doubled)
    close(fused.logits / wanted.logits.abs().max().float(), wanted.logits / wanted.logits.abs().max())
    model = MultimodalModel({m: torch.nn.Identity() for m in NAMES}, head, 6, Task(3))
    absent = {m: torch.zeros_like(f) for m, f in given.items()}
    with autocast():
        shares = contributions(model, given, given, absent, torch.Generator())
    nothing = {m: torch.zeros_like(f) for m, f in doubled.items()}
    audio = exact({**nothing, "audio": doubled["audio"]}).logits
    video = exact({**nothing, "video": doubled["video"]}).logits
    by_hand = torch.stack(((audio + wanted.logits - video) / 2, (video + wanted.logits - audio) / 2))
    close(shares / by_hand.abs().max().float(), by_hand / by_hand.abs().max())


def test_own_heads_probes_and_the_bottleneck_under_autocast() -> None:
    given, task = features(2, 3.0), Task(3)
    model = MultimodalModel({m: torch.nn.Identity() for m in NAMES}, LateLinear(list(NAMES), 6, 3), 6, task)
    drawn(model)
    decoder, probes = FeatureDecoder(list(NAMES), 3, 6), Probes(model, torch.device("cpu"))
    drawn(decoder)
    for m, head in probes.heads.items():
        drawn(head, len(m))
    with autocast():
        outputs = model.fuse(given)
        own, probed, term = outputs.own_logits, probes.logits(given), ceb(given, outputs.logits, decoder)
    after = Outputs(model, given, outputs.logits, outputs.branch_logits)
    for m, f in given.items():
        close(own[m], torch.nn.functional.linear(f.double(), *map(Tensor.double, model.own_heads[m].parameters())))
        close(after.own_logits[m], own[m])  # asked for outside autocast
        close(probed[m], torch.nn.functional.linear(f.double(), *map(Tensor.double, probes.heads[m].parameters())))
    decoded = decoder.double()(outputs.logits.detach().double())
    close(term, torch.stack([(decoded[m] - f.double()).square().mean() for m, f in given.items()]).mean())


@pytest.mark.parametrize("temperature", [0.5, 0.05])
@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_the_contrastive_term_of_bf16_features(temperature: float, spread: float) -> None:
    given = {m: (1.0 + spread * f.float()).bfloat16() for m, f in features(3).items()}  # a small spread: nearly equal
    labels = torch.tensor([0, 1, 0, 2, 1, 1, 0])
    vectors = torch.nn.functional.normalize(torch.cat(list(given.values())).double(), dim=1)
    powers, double_labels, terms = (vectors @ vectors.T / temperature).exp(), labels.repeat(2), []
    for a in range(14):
        others = powers[a][double_labels != double_labels[a]].sum()
        terms += [
            (1 + others / powers[a, p]).log() for p in range(14) if p != a and double_labels[p] == double_labels[a]
        ]
    with autocast():
        close(nt_xent(given, labels, temperature), torch.stack(terms).mean())


@pytest.mark.parametrize("name", ["joint", "multi-loss", "mlb", "mcr"])
@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("fusion", ["late-linear", "gated"])
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_terms_equal_those_of_double_precision_on_the_same_features(
    name: str, regression: bool, fusion: str, scale: float
) -> None:
    method = build(registry.method(name), {"lambda_ceb": 0.3, "lambda_uni": 0.7} if name == "mcr" else {})
    fit = make_fit(method, NAMES, Task(None if regression else 3), fusion=fusion, precision="bf16")
    fit.epoch = fit.step = 1
    batch, given = whole_batch(fit), features(4, scale, rows=24)
    with fit.autocast():
        found = method.loss(fit.model.fuse(given), batch)
    fit.model.double()
    wanted = method.loss(fit.model.fuse({m: f.double() for m, f in given.items()}), batch)
    assert found.keys() == wanted.keys()
    for term, loss in found.items():
        assert loss.dtype == torch.float32
        assert wanted[term].dtype == torch.float64
        torch.testing.assert_close(loss.double(), wanted[term], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(n for n in registry.method_names() if registry.method(n).trains))
@pytest.mark.parametrize("regression", [False, True])
def test_every_term_of_every_method_has_full_precision(name: str, regression: bool) -> None:
    cls, task = registry.method(name), Task(None if regression else 3)
    names = NAMES[:1] if cls.role == "unimodal" else NAMES
    if cls.needs.unmet(len(names), task):
        pytest.skip("cannot run")
    method = cls()
    needed = [
        make_fit(registry.method(r.method)(), r.modalities, task).model.state_dict() for r in method.requires(names)
    ]
    fit = make_fit(method, names, task, dependencies=needed, precision="bf16")
    batch = whole_batch(fit)
    with fit.autocast():
        outputs = method.forward(batch)
        losses = method.loss(outputs, batch)
    assert {f.dtype for f in outputs.features.values()} == {torch.bfloat16}
    kinds = {term: loss.dtype for term, loss in losses.items()}
    if not fit.model.fusion.reads:  # such a head computes in the precision of the pass
        kinds["logits"] = outputs.logits.dtype
    kinds |= {f"own/{m}": z.dtype for m, z in outputs.own_logits.items()}
    kinds |= {f"branch/{m}": z.dtype for m, z in (outputs.branch_logits or {}).items()}
    assert set(kinds.values()) == {torch.float32}, kinds
