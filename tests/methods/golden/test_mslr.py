"""MSLR by hand: the constants and quotients of learning rates, and what they do to steps and gradients."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.problem.facts import Facts, Modality
from mcr_bench.bench.task import Task, Unit, Units
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, tiny_split
from mcr_bench.methods.base import Method
from mcr_bench.methods.joint import Joint
from mcr_bench.methods.mslr import Mslr
from mcr_bench.methods.terms.rates import factors_of, quotient

PLAIN = {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__weight_decay": 0.0, "dtype": torch.float64}


def evaluation(right: dict[str, int], count: int = 10) -> Evaluation:
    """An evaluation in which `right` of the samples are right by each modality's share of the logits."""
    split = {m: torch.tensor([[1.0, 0.0]] * n + [[0.0, 1.0]] * (count - n)) for m, n in right.items()}
    return Evaluation(torch.zeros(count, 2), {}, {}, split, torch.zeros(count, dtype=torch.long), {})


def factors(method: Mslr) -> list[float]:
    """What one step logs."""
    method.fit.meters.means()
    step(method)
    means = method.fit.meters.means()
    return [means[f"coefficient/{m}"] for m in method.fit.model.modalities]


def test_quotient_by_hand() -> None:
    assert quotient([0.5, 0.6, 0.7, 0.9], 3) == pytest.approx(1.5)
    assert quotient([0.5, 0.6, 0.7, 0.3], 3) == pytest.approx(0.5)
    assert quotient([0.5, 0.6, 0.9], 3) == 1.0
    assert quotient([0.0, 0.0, 0.9], 2) == 1.0
    assert quotient([0.5, 0.9], 0) == 1.0


@pytest.mark.parametrize("names", [NAMES[:2], NAMES[:3]], ids=str)
def test_the_memory_is_first_in_first_out(names: tuple[str, ...]) -> None:
    """K = 2: accuracies .2, .4, .6, .3: q = 1, 1, .6 / .3 = 2, .3 / .5 = .6; the last modality stays at .5."""
    method = Mslr(memory=2, rates=f"{names[0]}=0.7/{names[-1]}=1.3")
    make_fit(method, names, **PLAIN)
    found = []
    for right in (2, 4, 6, 3):
        method.on_epoch_end(evaluation({**dict.fromkeys(names, right), names[-1]: 5}))
        found.append(factors(method))
    middle = [[q] * (len(names) - 2) for q in (1.0, 1.0, 2.0, 0.6)]
    assert found == [pytest.approx([0.7 * q, *rest, 1.3]) for q, rest in zip((1.0, 1.0, 2.0, 0.6), middle, strict=True)]


def test_of_scores_the_quotient_is_that_of_inverse_errors() -> None:
    """Mean errors 2, then 1: q = (1 / 1) / (1 / 2) = 2."""
    method = Mslr(memory=1)
    fit = make_fit(method, task=Task(None), **PLAIN)
    target = torch.zeros(4)
    for error in (2.0, 1.0):
        split = dict.fromkeys(fit.model.modalities, torch.tensor([[error], [-error]] * 2))
        method.on_epoch_end(Evaluation(target, {}, {}, split, target, {}))
    assert factors(method) == pytest.approx([2.0, 2.0])


def test_of_several_scores_errors_are_those_of_the_learned_unit() -> None:
    """In the learned unit the errors are 1 and 3, then 2 and 1: q = (1 / 1.5) / (1 / 2) = 4 / 3, whatever the units."""
    found = []
    for sizes in ((1.0, 1.0), (1000.0, 0.125)):
        task = Task(None, "standard", Units((Unit(5.0, sizes[0]), Unit(-1.0, sizes[1]))), scores=2)
        method = Mslr(memory=1)
        fit = make_fit(method, task=task, **PLAIN)
        target = torch.tensor([[5.0, -1.0]] * 3, dtype=torch.float64)
        for errors in ((1.0, 3.0), (2.0, 1.0)):
            split = target + torch.tensor(errors, dtype=torch.float64) * torch.tensor(sizes)
            method.on_epoch_end(Evaluation(target, {}, {}, dict.fromkeys(fit.model.modalities, split), target, {}))
        found.append(factors(method))
    assert found[0] == found[1] == pytest.approx([4 / 3, 4 / 3], rel=1e-6)


def test_samples_that_lack_a_modality_do_not_count() -> None:
    has = torch.tensor([True] * 12 + [False] * 12)
    method = Mslr(memory=1)
    fit = make_fit(method, prepare=lambda fit: fit.val.present.update(audio=has), data=tiny_split(), **PLAIN)
    for right in (6, 12):
        method.on_epoch_end(evaluation({"audio": right, "video": right}, 24))
    assert [len(fit.val.having("audio", has)), *factors(method)] == [12, pytest.approx(2.0), pytest.approx(2.0)]


def moved(method: Method, **training: object) -> dict[str, Tensor]:
    fit = make_fit(method, NAMES[:2], **{**PLAIN, **training})
    before = {n: p.detach().clone() for n, p in fit.model.named_parameters()}
    step(method)
    return {n: p.detach() - before[n] for n, p in fit.model.named_parameters()}


@pytest.mark.parametrize("slices", [False, True])
@pytest.mark.parametrize(
    ("apply_to", "optimizer"), [("lr", "sgd"), ("lr", "adam"), ("grad", "sgd")], ids=["lr", "adam", "grad"]
)
def test_steps_are_those_of_joint_training_times_the_constant(apply_to: str, optimizer: str, slices: bool) -> None:
    plain = moved(Joint(), optimizer__name=optimizer)
    mine = moved(Mslr(rates="audio=0.25/video=3", apply_to=apply_to, slices=slices), optimizer__name=optimizer)
    known = {"audio": 0.25, "video": 3.0}
    for name, way in plain.items():
        room = name.startswith("encoders.") or (slices and name.startswith("fusion.slices."))
        factor = next(c for m, c in known.items() if m in name) if room else 1.0
        torch.testing.assert_close(mine[name], factor * way, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("text", ["audio", "audio=x", "audio=-1", "audio=1/audio=2", "=1", "audio=1//", "audio=inf"])
def test_rates_that_cannot_be_read_are_an_error(text: str) -> None:
    says = r"mslr\.rates=.*audio=0\.9/video=1\.1"
    with pytest.raises(UserError, match=says):  # when planning
        Mslr(rates=text).skip(Facts({"audio": Modality((3,)), "video": Modality((3,))}, Task(3)))
    with pytest.raises(UserError, match=says):  # in a loop of the user's own
        make_fit(Mslr(rates=text), **PLAIN)


def test_rates_of_what_is_no_modality_are_an_error_when_planning() -> None:
    facts = Facts({"audio": Modality((3,)), "video": Modality((3,))}, Task(3))
    assert Mslr(rates="video=2").skip(facts) is None
    with pytest.raises(UserError, match=r"vidoe.*video"):
        Mslr(rates="vidoe=2").skip(facts)
    assert factors_of("") == {}


def test_a_resumed_run_has_the_same_factors() -> None:
    method, other = Mslr(memory=1), Mslr(memory=1)
    for one in (method, other):
        make_fit(one, **PLAIN)
    for right in (2, 4):
        method.on_epoch_end(evaluation({"audio": right, "video": 5}))
    other.load_state_dict(method.state_dict())
    assert factors(other) == factors(method) == pytest.approx([2.0, 1.0])
    for one in (method, other):
        one.on_epoch_end(evaluation({"audio": 5, "video": 5}))
    assert factors(other) == factors(method) == pytest.approx([1.25, 1.0])
