"""A Balancer gives a network in somebody's own loop the gradients of the harness, or refuses with a reason."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mcr_bench.bench.api.balancer import Balancer
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import Value, build
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, make_fit, step, whole_batch

PLAIN = {"clip_norm": 0.0, "optimizer__name": "sgd", "optimizer__lr": 0.05, "optimizer__weight_decay": 0.0}
PLAIN["optimizer__momentum"] = 0.0
ALPHA: dict[str, Value] = {"alpha": 0.4, "all_parameters": True}
OFFERED = (
    *("agm", "arl", "cml", "dgl", "functional-entropy", "joint", "mbsd", "mcr", "midas", "mlb", "mmpareto"),
    *("mnl", "multi-loss", "ogm", "ogm-ge", "opm", "synib", "tcmax"),
)
PAIRS_ONLY = ("mbsd",)
REASONS = {
    "ensemble": "trains nothing itself",
    "unimodal": "trains modalities apart",
    "umt": "starts from runs of unimodal",
    "awc": "needs the optimiser",
    "mslr": "acts on the evaluation of the validation part",
    "cggm": "sets the optimiser's parameter groups",
    "smv": "chooses the samples of every epoch",
    "qmf": "predicts by other outputs",
    "crmt": "makes the optimiser's steps itself",
    "mmcosine": "replaces parts of the network",
}


@pytest.mark.parametrize("modalities", [NAMES[:2], NAMES[:3]], ids=["two", "three"])
@pytest.mark.parametrize("name", OFFERED)
def test_gradients_are_those_of_the_harness(name: str, modalities: tuple[str, ...]) -> None:
    if len(modalities) > 2 and name in PAIRS_ONLY:
        pytest.skip(f"{name} takes two modalities")
    method = build(registry.method(name), {})
    fit = make_fit(method, modalities, dtype=torch.float64, **PLAIN)
    encoders, fusion = copy.deepcopy(dict(fit.model.encoders.items())), copy.deepcopy(fit.model.fusion)
    heads = copy.deepcopy(dict(fit.model.own_heads.items())) if method.needs.own_heads else None
    balance = Balancer(name, encoders, fusion, heads=heads, task=3, widths=dict.fromkeys(modalities, 6))
    balance._net.extras.load_state_dict(fit.model.extras.state_dict())
    nets = nn.ModuleList([*encoders.values(), fusion])
    optimizer = torch.optim.SGD([*nets.parameters(), *balance.parameters()], lr=0.05)
    fit.epoch = 1
    method.on_epoch_start()
    batch = whole_batch(fit)
    for _ in range(3):
        step(method)
        logits = fusion({m: encoders[m](batch.inputs.values[m]) for m in modalities}).logits
        optimizer.zero_grad()
        balance.backward(logits, batch.target)
        optimizer.step()
    mine = nn.ModuleDict({"encoders": nn.ModuleDict(encoders), "fusion": fusion}).state_dict()
    theirs = fit.model.state_dict()
    assert max(float((value - theirs[key]).abs().max()) for key, value in mine.items()) <= 1e-12


def test_every_other_method_is_refused_with_a_reason() -> None:
    encoders = {m: nn.Linear(5, 6) for m in NAMES[:2]}
    heads = {m: nn.Linear(6, 3) for m in NAMES[:2]}
    refused = {}
    for name in registry.shipped_methods():
        if name not in OFFERED:
            with pytest.raises(UserError, match=f"{name} cannot be used") as told:
                train(name, encoders, heads)
            refused[name] = str(told.value)
    assert len(refused) + len(OFFERED) == len(registry.shipped_methods())
    assert {name: part for name, part in REASONS.items() if part not in refused[name]} == {}


def train(name: str, encoders: dict[str, nn.Module], heads: dict[str, nn.Module]) -> None:
    """One step: a method is refused when it is named, or as soon as it reads what there is not."""
    balance = Balancer(name, encoders, heads)
    features = [encoder(torch.ones(4, 5)) for encoder in encoders.values()]
    logits = torch.stack([head(f) for head, f in zip(heads.values(), features, strict=True)]).sum(0)
    balance.backward(logits, torch.tensor([0, 1, 2, 0]))


class Net(nn.Module):
    """Two encoders of different widths and a head that `join` calls."""

    def __init__(self, head: nn.Module, join: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.v, self.head, self.join = nn.Linear(3, 4), nn.Linear(5, 4), head, join

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        return self.join(self.head, self.a(a), self.v(v))


class Apart(nn.Module):
    """A fusion that is not additive, called with one tensor each, a list or a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 3)

    def forward(self, *given: Tensor | list[Tensor] | dict[str, Tensor]) -> Tensor:
        first = given[0]
        several = list(first.values()) if isinstance(first, dict) else first if isinstance(first, list) else list(given)
        made: Tensor = self.last(torch.tanh(torch.cat(several, -1)))  # type: ignore[arg-type]
        return made


def concatenated(head: nn.Module, a: Tensor, v: Tensor) -> Tensor:
    made: Tensor = head(torch.cat([a, v], -1))
    return made


def data(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    target = torch.arange(12) % 3
    a = torch.randn(12, 3, generator=draw, dtype=torch.float64) + target[:, None]
    return a, torch.randn(12, 5, generator=draw, dtype=torch.float64), target


def net(head: nn.Module, join: Callable[[nn.Module, Tensor, Tensor], Tensor] = concatenated) -> Net:
    torch.manual_seed(3)
    made = Net(head, join).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.7)
    return made


def balanced(model: Net, method: str = "ogm", settings: dict[str, Value] | None = None) -> Balancer:
    return Balancer(method, {"audio": model.a, "video": model.v}, model.head, settings=settings)


def ogm_by_hand(model: Net, alpha: float) -> dict[str, Tensor]:
    """OGM's rule written out for a linear head on [a; v]: arXiv 2203.15332, equations 8 to 10."""
    a, v, target = data()
    fa, fv = model.a(a), model.v(v)
    head = model.head
    assert isinstance(head, nn.Linear)
    F.cross_entropy(head(torch.cat([fa, fv], -1)), target).backward()
    shares = [f @ w.T + head.bias / 2 for f, w in ((fa, head.weight[:, :4]), (fv, head.weight[:, 4:]))]
    s_a, s_v = (F.softmax(z, -1)[range(12), target].sum() for z in shares)
    for encoder, ratio in ((model.a, s_a / s_v), (model.v, s_v / s_a)):
        for parameter in encoder.parameters():
            assert parameter.grad is not None
            parameter.grad *= 1 - torch.tanh(alpha * ratio) if ratio > 1 else 1
    return gradients(model)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[k], other[k], rtol=0, atol=1e-12) for k in one)


def test_ogm_on_one_linear_head_is_the_rule_written_out() -> None:
    model, twin = net(nn.Linear(8, 3)), net(nn.Linear(8, 3))
    a, v, target = data()
    balance = balanced(model, settings=ALPHA)
    loss = balance.backward(model(a, v), target)
    assert equal(gradients(model), ogm_by_hand(twin, 0.4))
    assert loss == pytest.approx(F.cross_entropy(twin(a, v), target).item(), abs=1e-12)
    logged = balance.metrics()
    assert min(logged["coefficient/audio"], logged["coefficient/video"]) < 1.0


def test_gradients_of_earlier_steps_are_not_scaled() -> None:
    model, twin = net(nn.Linear(8, 3)), net(nn.Linear(8, 3))
    a, v, target = data()
    balance = balanced(model, settings=ALPHA)
    balance.backward(model(a, v), target)
    balance.backward(model(a, v), target)
    once = ogm_by_hand(twin, 0.4)
    assert equal(gradients(model), {name: 2 * g for name, g in once.items()})


def test_what_computes_gradients_may_be_given() -> None:
    model, twin = net(nn.Linear(8, 3)), net(nn.Linear(8, 3))
    a, v, target = data()
    balanced(model, settings=ALPHA).backward(model(a, v), target, by=lambda loss: loss.backward())
    assert equal(gradients(model), ogm_by_hand(twin, 0.4))


FORMS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "one each": lambda head, a, v: head(a, v),
    "a list": lambda head, a, v: head([a, v]),
    "a dict": lambda head, a, v: head({"audio": a, "video": v}),
    "concatenated": concatenated,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_fusion_of_any_kind_is_called_as_its_owner_calls_it(form: str) -> None:
    made = []
    for name in (form, "one each"):
        model = net(Apart(), FORMS[name])
        a, v, target = data()
        balanced_agm = Balancer("agm", {"audio": model.a, "video": model.v}, model.head, task=3)
        balanced_agm.backward(model(a, v), target)
        made.append(gradients(model))
    assert equal(*made)


def test_a_fusion_that_gets_something_else_is_named_when_the_method_needs_it() -> None:
    model = net(Apart(), lambda head, a, v: head(2 * a, v))
    a, v, target = data()
    balance = Balancer("agm", {"audio": model.a, "video": model.v}, model.head, task=3)
    with pytest.raises(UserError, match="not called with the encoders' features"):
        balance.backward(model(a, v), target)
    plain = Balancer("joint", {"audio": model.a, "video": model.v}, model.head, task=3)
    plain.backward(model(a, v), target)


def test_what_it_keeps_continues_a_training() -> None:
    a, v, target = data()
    runs = []
    for stops in (False, True):
        model = net(nn.Linear(8, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        balance = balanced(model, "agm")
        for number in range(4):
            if stops and number == 2:
                state = copy.deepcopy(balance.state_dict())
                balance.remove()
                balance = balanced(model, "agm")
                balance.load_state_dict(state)
            optimizer.zero_grad()
            balance.backward(model(a, v), target)
            optimizer.step()
        runs.append(dict(model.state_dict()))
    assert equal(*runs)


def test_a_pass_in_evaluation_mode_is_no_training_pass() -> None:
    model = net(nn.Linear(8, 3))
    a, v, target = data()
    balance = balanced(model)
    model.eval()
    logits = model(a, v)
    with pytest.raises(UserError, match="no forward pass of audio, video in training mode"):
        balance.backward(logits, target)
    model.train()
    balance.backward(model(a, v), target)
    with pytest.raises(UserError, match="no forward pass"):
        balance.backward(logits, target)


def test_own_heads_are_made_and_given_to_the_optimiser() -> None:
    model = net(nn.Linear(8, 3))
    balance = Balancer("multi-loss", {"audio": model.a, "video": model.v}, model.head)
    a, v, target = data()
    balance.backward(model(a, v), target)
    own = list(balance.parameters())
    assert [tuple(p.shape) for p in own] == [(3, 4), (3,), (3, 4), (3,)]
    assert all(p.grad is not None for p in own)


def test_scores_are_learned_where_the_task_says_so() -> None:
    model = net(nn.Linear(8, 1))
    a, v, _ = data()
    balance = Balancer("joint", {"audio": model.a, "video": model.v}, model.head, task=Task(None))
    balance.backward(model(a, v), a[:, 0])
    assert gradients(model)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda m: Balancer("walk", {"audio": m.a, "video": m.v}, m.head), "unknown method 'walk'"),
        (lambda m: Balancer("agm", {"audio": m.a, "video": m.v}, Apart()), "Give task=N"),
        (lambda m: Balancer("ogm", {"audio": m.a, "video": m.v}, Apart(), task=3), "needs an additive fusion head"),
        (lambda m: Balancer("ogm", {"audio": m.a}, m.head), "needs at least 2 modalities"),
        (
            lambda m: Balancer("joint", {"audio": m.a, "video": m.v}, {"audio": m.head}),
            "fusion has the modalities audio",
        ),
        (lambda m: Balancer("multi-loss", {"audio": m.a, "video": m.v}, Apart(), task=3), "Give `widths`, or `heads`"),
        (lambda m: Balancer("ogm", {"audio": m.a, "video": m.v}, m.head, settings={"beta": 1}), "beta"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[Net], Balancer], told: str) -> None:
    with pytest.raises(UserError, match=told):
        make(net(nn.Linear(8, 3)))


def test_features_of_other_widths_and_the_part_of_a_shared_head_are_named() -> None:
    model = net(nn.Linear(8, 3))
    a, v, target = data()
    with pytest.raises(UserError, match=r"gives 4 features, not 3. Give `widths`"):
        Balancer("ogm", {"audio": model.a, "video": model.v}, model.head, widths={"audio": 3, "video": 5}).backward(
            model(a, v), target
        )
    balance = Balancer("mlb", {"audio": model.a, "video": model.v}, model.head)
    with pytest.raises(UserError, match="the part of the fusion that belongs to one modality"):
        balance.backward(model(a, v), target)
