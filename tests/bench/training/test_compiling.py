"""Compiled encoders: the same key, names and results; one that cannot be compiled runs as it is, and this is told."""

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.testing.fits import make_fit, step
from mcr_bench.bench.training.compiling import Compiled, compile_encoders
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.support.runs.measured import MEASURED

SMALL = {
    "epochs": ["2"],
    "batch_size": ["16"],
    "encoder.width": ["8"],
    "model.width": ["6"],
    "encoder.dropout": ["0.4"],
}
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, shape, width, compile: bool = False):
        super().__init__()
        self.scale = 2.0 if compile else 1.0
        self.lin, self.norm = nn.Linear(shape[0], width), nn.BatchNorm1d(width)
    def forward(self, x):
        return self.scale * self.norm(self.lin(x))

class Plain(nn.Module):
    def __init__(self, shape, width):
        super().__init__()
        self.lin, self.norm = nn.Linear(shape[0], width), nn.BatchNorm1d(width)
    def forward(self, x, lengths=None):
        return self.norm(self.lin(x))
"""
Backend = Callable[[Any, Any], Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    split = np.array(["train"] * 36 + ["val"] * 12 + ["test"] * 12)
    arrays = {f"x_{m}": rng.normal(size=(60, d)).astype("float32") + y[:, None] for m, d in (("a", 4), ("b", 6))}
    np.savez(tmp_path / "small.npz", y=y, split=split, **arrays)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "small.npz"


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """torch.compile without a compiler: graphs are captured, forward and backward, and run as they are."""
    compiled: list[str] = []
    real = torch.compile

    def compile(function: Any, **_options: Any) -> Any:
        compiled.append(function.__qualname__)
        return real(function, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", compile)
    return compiled


def broken(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_options: real(function, backend=backend))


def no_compiler(_graph: Any, _inputs: Any) -> Any:
    raise RuntimeError("no C++ compiler\nwas found")


class BadBackward(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_ctx: Any, _grad: Tensor) -> Tensor:
        raise RuntimeError("no kernel for the backward pass")


def no_backward(graph: Any, _inputs: Any) -> Any:
    return lambda *inputs: tuple(BadBackward.apply(x) for x in graph(*inputs))  # type: ignore[no-untyped-call]


def spec_of(data: Path, method: str = "joint", **overrides: list[str]) -> RunSpec:
    values = SMALL | {k.replace("__", "."): v for k, v in overrides.items()}
    return make_plan(Request([method], [str(data)], seeds=[3], overrides=values)).runs[-1]


def trained(spec: RunSpec, home: Path) -> tuple[list[Any], dict[str, str], dict[str, Tensor]]:
    """What is logged, without what a clock measures; the tags; the weights."""
    events: list[Event] = []
    fit_run(Job(spec, "cpu", home, {}, home / "weights.pt"), events.append)
    end = next(e for e in events if isinstance(e, RunDone))
    final = {k: v for k, v in end.metrics.items() if k not in MEASURED}
    logged = [e.metrics for e in events if isinstance(e, EpochDone)]
    return [*logged, final], end.tags, torch.load(home / "weights.pt", weights_only=True)


def same(mine: Any, theirs: Any) -> bool:
    return mine[0] == theirs[0] and all(
        torch.equal(value, theirs[2][name]) for name, value in mine[2].items() if list(mine[2]) == list(theirs[2])
    )


@pytest.mark.parametrize("method", ["joint", "agm"])
def test_a_compiled_run_has_the_key_names_and_results_of_a_plain_one(
    method: str, data: Path, captured: list[str], tmp_path: Path
) -> None:
    plain, compiled = spec_of(data, method), spec_of(data, method, encoder__a__compile=["true"])
    assert plain.key == compiled.key
    assert plain.config == compiled.config
    assert [spec.params()["encoder.a.compile"] for spec in (plain, compiled)] == ["False", "True"]
    mine, theirs = trained(compiled, tmp_path / "mine"), trained(plain, tmp_path / "theirs")
    assert captured == ["MLP.forward"]
    assert same(mine, theirs)  # encoder passes, which hooks count, are among what is logged
    assert mine[1]["rounding/compiled"] == "a"
    assert "rounding/compiled" not in theirs[1]


@pytest.mark.parametrize(("backend", "says"), [(no_compiler, "no C++ compiler"), (no_backward, "no kernel for the b")])
def test_an_encoder_that_cannot_be_compiled_runs_as_it_is_and_this_is_told(
    backend: Backend,
    says: str,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    theirs = trained(spec_of(data), tmp_path / "theirs")
    broken(monkeypatch, backend)
    with caplog.at_level(logging.WARNING):
        mine = trained(spec_of(data, encoder__compile=["true"]), tmp_path / "mine")
    assert same(mine, theirs)
    assert "rounding/compiled" not in mine[1]
    assert mine[1]["rounding/not_compiled"].startswith("a: ")
    assert says in mine[1]["rounding/not_compiled"]
    told = [record.getMessage() for record in caplog.records if "runs without torch.compile" in record.getMessage()]
    assert [("'a'" in text, "'b'" in text) for text in told] == [(True, False), (False, True)]


def test_nets_of_others_are_compiled_and_keep_a_setting_of_that_name(
    data: Path, captured: list[str], tmp_path: Path
) -> None:
    plain, own = (f"{data.parent / 'net.py'}:{name}" for name in ("Plain", "Net"))
    kinds = {"encoder__a__kind": [plain], "encoder__b__kind": [own]}
    values = {k: v for k, v in SMALL.items() if not k.startswith("encoder.")}

    def spec(**more: list[str]) -> RunSpec:
        chosen = values | {k.replace("__", "."): v for k, v in (kinds | more).items()}
        return make_plan(Request(["joint"], [str(data)], seeds=[3], overrides=chosen)).runs[-1]

    first, of_a, of_b = spec(), spec(encoder__a__compile=["true"]), spec(encoder__b__compile=["true"])
    assert first.key == of_a.key != of_b.key  # b's net has such a setting itself, which decides its results
    assert of_a.rounding == {"encoder.a.compile": True}
    assert of_b.encoders["b"]["compile"] is True
    mine, theirs = trained(of_a, tmp_path / "mine"), trained(first, tmp_path / "theirs")
    assert mine[1]["rounding/compiled"] == "a"
    assert captured == ["OwnNet.forward"]
    assert same(mine, theirs)  # running statistics, too, do not know of the trial


def test_settings_of_compiling_are_checked(data: Path) -> None:
    with pytest.raises(UserError, match=r"encoder\.compile=maybe: not allowed\. Allowed: true \| false"):
        spec_of(data, encoder__compile=["maybe"])


@pytest.mark.usefixtures("captured")
def test_a_copy_of_a_compiled_encoder_has_weights_of_its_own(tmp_path: Path) -> None:
    method = Joint()
    fit = make_fit(method)
    fit.epoch = 1
    compiled = compile_encoders(fit, ["audio"])
    step(method)
    encoder = fit.model.encoders["audio"]
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    x = fit.train.batch(torch.arange(4)).inputs.values["audio"]
    assert twin(x).abs().sum() == 0 < encoder(x).abs().sum()
    assert not isinstance(twin.forward, Compiled)
    torch.save(encoder, tmp_path / "encoder.pt")
    assert torch.equal(torch.load(tmp_path / "encoder.pt", weights_only=False)(x), encoder(x))
    assert compiled["audio"].failure == ""
    assert list(fit.model.state_dict()) == list(make_fit(Joint()).model.state_dict())


def test_errors_of_the_encoder_itself_are_its_own() -> None:
    net = nn.Linear(3, 2)
    forward = Compiled("voice", net.forward)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        forward(torch.zeros(2, 5))
    assert forward.failure == ""
