"""Values of hooks and nets that a run cannot go on with: each error names the hook and the remedy."""

from pathlib import Path

import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.testing.fits import make_fit, step
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.support.runs.hooked import array_file, method_file, runs_of, same, trained

CLASS = """
@dataclass
class Mine(Method):
    name = "mine"
    needs = Needs(own_heads=True)

    {}
"""
NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, shape, width):
        super().__init__()
        self.layer = nn.Linear(shape[0], width)
        self.chosen = torch.randperm(shape[0]).tolist()
        self.signs = torch.randn(shape[0]).sign()

    def forward(self, x):
        return self.layer(x[:, self.chosen] * self.signs.to(x))
"""
COUNTING = """
from torch import nn
import torch


class Net(nn.Module):
    def __init__(self, shape, width):
        super().__init__()
        self.layer = nn.Linear(shape[0], width)
        self.register_buffer("count", torch.zeros(()))
        self.calls = 0

    def forward(self, x):
        if self.training:
            self.count = self.count + 1
            self.calls += 1
        return self.layer(x) * (1 + 0.01 * self.count + 0.01 * self.calls)
"""


def run_of(net: str, folder: Path, data: str, **overrides: str) -> RunSpec:
    """A run of joint training with this net for every modality; two underscores in a key stand for a dot."""
    (folder / "net.py").write_text(net)
    asked = {"epochs": "3", "batch_size": "8", "encoder.kind": f"{folder}/net.py:Net"}
    asked |= {key.replace("__", "."): value for key, value in overrides.items()}
    return make_plan(Request(["joint"], [data], seeds=[1], overrides={k: [v] for k, v in asked.items()})).runs[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def own_weight(self): return torch.ones(2)",
            r"own_weight\(\).* returned a tensor of shape \(2,\)\. Return one",
        ),
        ("def own_weight(self): return 'half'", r"own_weight\(\).* returned a str\. Return one finite number"),
        ("def own_weight(self): return float('nan')", r"own_weight\(\).* returned a float"),
        (
            "def on_epoch_start(self): self.fit.log('x', torch.ones(3))",
            r"fit\.log\('x', \.\.\.\) was given a tensor of",
        ),
        ("def on_epoch_start(self): self.fit.log('x', 'text')", r"fit\.log\('x', \.\.\.\) was given 'text'"),
        (
            "def parameter_groups(self, model): return [{'params': list(model.named_parameters())}]",
            r"parameter_groups\(\).* returned a tuple among the params",
        ),
        (
            "def parameter_groups(self, model): return [{'params': list(model.parameters())} for _ in range(2)]",
            r"parameter_groups\(\).* returned a parameter of shape .* twice",
        ),
        (
            "def parameter_groups(self, model): return [{'params': list(model.parameters()), 'lr': '0.1'}]",
            r"parameter_groups\(\).* with lr='0\.1'",
        ),
        (
            "def parameter_groups(self, model): return [{'params': list(model.parameters()), 'lr': float('nan')}]",
            r"with lr=nan\. Give a number >= 0",
        ),
    ],
)
def test_wrong_values_name_the_hook(tmp_path: Path, body: str, message: str) -> None:
    (spec,) = runs_of(method_file(tmp_path, CLASS.format(body)), array_file(tmp_path / "a.npz"))
    with pytest.raises(UserError, match=message):
        trained(spec, tmp_path / "run")


@pytest.mark.parametrize("option", ["learning_rate", "LR", "weight_deacy", "momentum", "base_lr"])
def test_an_option_that_the_optimiser_does_not_know_is_an_error(tmp_path: Path, option: str) -> None:
    """PyTorch keeps it beside the others, and trains as if it had not been given."""
    body = f"def parameter_groups(self, model): return [{{'params': list(model.parameters()), {option!r}: 1.0}}]"
    (spec,) = runs_of(method_file(tmp_path, CLASS.format(body)), array_file(tmp_path / "a.npz"))
    with pytest.raises(UserError, match=rf"option '{option}', which adam does not know\. Known are lr, .*Rename it"):
        trained(spec, tmp_path / "run")


def test_a_group_may_say_what_its_parameters_are(tmp_path: Path) -> None:
    keys = "'modality': 'a', 'role': 'encoder', 'name': 'all'"
    body = f"def parameter_groups(self, model): return [{{'params': list(model.parameters()), {keys}}}]"
    (spec,) = runs_of(method_file(tmp_path, CLASS.format(body)), array_file(tmp_path / "a.npz"))
    assert trained(spec, tmp_path / "run").epochs


def test_a_weight_that_is_a_tensor_of_one_number_is_a_number_in_what_is_sent(tmp_path: Path) -> None:
    """A tensor in an event could not be read by the command, which then waited for ever."""
    body = CLASS.format("def own_weight(self): return torch.tensor(0.5)")
    (spec,) = runs_of(method_file(tmp_path, body), array_file(tmp_path / "a.npz"))
    epochs = trained(spec, tmp_path / "run").epochs
    assert {type(value) for metrics in epochs for value in metrics.values()} == {float}


@pytest.mark.parametrize(
    "change",
    ["self.fit.model.fusion = copy.deepcopy(self.fit.model.fusion)", "self.fit.model = copy.deepcopy(self.fit.model)"],
)
def test_a_part_that_is_replaced_in_mid_run_is_named(tmp_path: Path, change: str) -> None:
    """The optimiser went on moving the old part, and the new one stayed as it was."""
    body = f"def on_epoch_start(self):\n        import copy\n        if self.fit.epoch == 2: {change}"
    (spec,) = runs_of(method_file(tmp_path, CLASS.format(body)), array_file(tmp_path / "a.npz"))
    with pytest.raises(UserError, match=r"\d+ parameters that the optimiser moves left the model"):
        trained(spec, tmp_path / "run")


@pytest.mark.parametrize("variants", ["[('nothing',)]", "[()]"])
def test_variants_of_what_is_no_modality_are_named_when_planning(tmp_path: Path, variants: str) -> None:
    body = CLASS.format(f"variants = classmethod(lambda cls, modalities: {variants})")
    with pytest.raises(UserError, match=r"mine: variants\(\) gave .*Allowed: tuples of some of a, b"):
        make_plan(Request([method_file(tmp_path, body)], [array_file(tmp_path / "a.npz")], seeds=[0]))


def test_what_a_constructor_draws_beside_weights_follows_the_seed(tmp_path: Path) -> None:
    """One key gave other numbers in each process: indices of channels were drawn before any seed was set."""
    spec = run_of(NET, tmp_path, array_file(tmp_path / "a.npz"))
    seen = []
    for number in range(2):
        torch.manual_seed(100 + number)
        seen.append([metrics["val/loss"] for metrics in trained(spec, tmp_path / f"run{number}").epochs])
    assert seen[0] == seen[1]
    assert len(seen[0]) >= 2


def test_trying_to_compile_leaves_no_trace_of_any_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers that are assigned anew, and plain counters, were one pass ahead of a run that is not compiled."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    data, losses = array_file(tmp_path / "a.npz"), []
    for compiled in ("false", "true"):
        spec = run_of(COUNTING, tmp_path, data, encoder__compile=compiled)
        losses.append([metrics["val/loss"] for metrics in trained(spec, tmp_path / compiled).epochs])
    assert losses[0] == losses[1]


def test_gradients_of_parameters_in_no_group_do_not_add_up() -> None:
    """They counted in the norm that clips all others, so that a step depended on all before it."""
    method = Joint()
    fit = make_fit(method, clip_norm=1.0)
    for group in fit.optimizer.param_groups:
        group["params"] = list(fit.model.fusion.parameters())
    norms = []
    for _ in range(3):
        step(method)
        norms.append([float(p.grad.norm()) for p in fit.model.encoders.parameters() if p.grad is not None])
        assert norms[-1]
        fit.zero_grad()
        assert all(p.grad is None for p in fit.model.parameters())


def test_a_last_batch_of_one_sample_names_the_batch_size(tmp_path: Path) -> None:
    net = NET.replace("self.layer = nn.Linear(shape[0], width)", NORMED)
    spec = run_of(net, tmp_path, array_file(tmp_path / "a.npz", samples=66), batch_size="11")  # 34 to train on
    with pytest.raises(UserError, match=r"last batch of an epoch has one sample.*Set another batch_size than 11"):
        trained(spec, tmp_path / "run")


@pytest.mark.parametrize("wants", ["False", "True"])
def test_what_a_method_freezes_or_thaws_in_mid_run_stays_so_in_a_run_that_is_resumed(
    tmp_path: Path, wants: str
) -> None:
    body = f"""def on_epoch_start(self):
        if self.fit.epoch == 2:
            for p in self.fit.model.parameters_of("a", "encoder"):
                p.requires_grad_({wants})"""
    if wants == "True":
        body += """

    def on_fit_start(self):
        for p in self.fit.model.parameters_of("a", "encoder"):
            p.requires_grad_(False)

    def parameter_groups(self, model):
        return [{"params": list(model.parameters())}]"""
    (spec,) = runs_of(method_file(tmp_path, CLASS.format(body)), array_file(tmp_path / "a.npz"))
    whole = trained(spec, tmp_path / "whole")
    assert same(trained(spec, tmp_path / "resumed", killed_in=3), whole)
    (plain,) = runs_of(method_file(tmp_path, CLASS.format("pass"), "plain"), array_file(tmp_path / "a.npz"))
    assert not same(trained(plain, tmp_path / "plain"), whole)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ('"A", "encoder"', "unknown modality of the model 'A'"),
        ('"a", "encoders"', "unknown role of parameters 'encoders'"),
    ],
)
def test_parameters_of_what_is_not_there_are_an_error(tmp_path: Path, asked: str, told: str) -> None:
    body = f"def on_fit_start(self): self.fit.model.parameters_of({asked})"
    (spec,) = runs_of(method_file(tmp_path, CLASS.format(body)), array_file(tmp_path / "a.npz"))
    with pytest.raises(UserError, match=told):
        trained(spec, tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            'Requirement("unimodal", "a")',
            r"requires\(\) gave Requirement\('unimodal', 'a'\)\. Give a tuple of some of a, b",
        ),
        ('Requirement("unimodal", ("c",))', r"Give a tuple of some of a, b"),
        ('Requirement("unimodal", ())', r"Give a tuple of some of a, b"),
        ('Requirement("mine", modalities)', r"requires\(\) ends in a ring: mine \(a, b\) -> mine \(a, b\)"),
    ],
)
def test_wrong_requirements_are_told_when_planning(tmp_path: Path, given: str, told: str) -> None:
    body = f"""def requires(self, modalities):
        from mcr_bench.methods.base import Requirement

        return [{given}]"""
    with pytest.raises(UserError, match=told):
        runs_of(method_file(tmp_path, CLASS.format(body)), array_file(tmp_path / "a.npz"))


SEEING = CLASS.format(
    """def epoch_batches(self, epoch):
        return EpochBatches(self.fit.order()[:34], {"a": torch.arange(34) > 30})

    def on_epoch_start(self):
        self.seen = 0

    def after_backward(self, outputs, batch):
        self.seen += len(batch.target)

    def on_epoch_end(self, validation):
        self.fit.log("seen", float(self.seen))"""
)


@pytest.mark.parametrize(("layer", "seen"), [("BatchNorm1d", 33), ("Identity", 34)])
def test_of_samples_that_a_method_chooses_one_is_not_left_alone_where_nets_refuse_that(
    tmp_path: Path, layer: str, seen: int
) -> None:
    """36 samples in batches of 11 leave three, the 34 chosen ones would leave one."""
    net = tmp_path / "net.py"
    net.write_text(NET.replace("self.layer = nn.Linear(shape[0], width)", NORMED.replace("BatchNorm1d", layer)))
    data = array_file(tmp_path / "a.npz", samples=70)
    asked = {"encoder.kind": [f"{net}:Net"], "batch_size": ["11"], "epochs": ["4"]}
    (spec,) = make_plan(Request([method_file(tmp_path, SEEING)], [data], seeds=[1], overrides=asked)).runs
    epochs = trained(spec, tmp_path / "run").epochs
    assert [value for metrics in epochs for name, value in metrics.items() if name.endswith("seen")] == 3 * [
        seen
    ]  # of the epoch before


NORMED = "self.layer = nn.Sequential(nn.Linear(shape[0], width), nn.BatchNorm1d(width))"
