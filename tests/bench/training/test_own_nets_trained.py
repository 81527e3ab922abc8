"""Every method trains with a stranger's encoders and fusion head, resumes equal, and gives its weights to others."""

from pathlib import Path

import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training import loop
from mcr_bench.bench.training.checkpoints import load_weights
from mcr_bench.bench.training.loop import Training, fit_run
from mcr_bench.tests.support.runs.heads import head_settings
from mcr_bench.tests.support.runs.measured import MEASURED
from mcr_bench.tests.support.runs.own_nets import write_data, write_nets

SETTINGS = {
    "epochs": "2",
    "batch_size": "8",
    "model.width": "6",
    "encoder.voice.kind": "nets.py:Scaled",
    "encoder.voice.rate": "0.25",
    "encoder.face.kind": "nets.py:Steps",
    "model.fusion": "heads.py:Weighted",
    "model.weight": "0.5",
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nets(tmp_path)
    write_data(tmp_path / "two.npz")
    write_data(tmp_path / "three.npz", 3)


def plan_of(method: str, data: str = "two.npz", **settings: str) -> list[RunSpec]:
    values = {k: [v] for k, v in {**SETTINGS, **{k.replace("__", "."): v for k, v in settings.items()}}.items()}
    return make_plan(Request([method], [data], seeds=[1], overrides=values)).runs


def job_of(spec: RunSpec, home: Path) -> Job:
    weights = {run.key: home / "weights" / f"{run.key}.pt" for run in spec.dependencies}
    return Job(spec, "cpu", home / "work" / spec.key, weights, home / "weights" / f"{spec.key}.pt")


def trained(specs: list[RunSpec], home: Path) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Metrics of every epoch and of the end of the last run, without what a clock measures."""
    events: list[Event] = []
    for spec in specs:
        events.clear()
        fit_run(job_of(spec, home), events.append)
    return results(events)


def results(events: list[Event]) -> tuple[list[dict[str, float]], dict[str, float]]:
    (done,) = [e for e in events if isinstance(e, RunDone)]
    epochs = [e.metrics for e in events if isinstance(e, EpochDone)]
    return epochs, {k: v for k, v in done.metrics.items() if k not in MEASURED}


WITH_THESE_NETS = [name for name in registry.method_names() if not head_settings(name)]  # others need their own head


@pytest.mark.parametrize("method", WITH_THESE_NETS)
def test_every_method_trains_with_an_additive_head_and_two_nets(method: str, tmp_path: Path) -> None:
    specs = plan_of(method)
    _, final = trained(specs, tmp_path)
    assert final["test/accuracy"] >= 0
    if specs[-1].modalities == ("voice", "face"):
        assert {k for k in final if k.startswith("test/modality/")} >= {
            "test/modality/voice/accuracy",
            "test/modality/face/accuracy",
        }


@pytest.mark.parametrize("method", ["joint", "mcr", "agm", "mlb", "ensemble", "uni-pre-finetuned"])
def test_three_modalities_a_padded_one_and_a_head_that_is_not_additive(method: str, tmp_path: Path) -> None:
    settings = {"model__fusion": "heads.py:Product", "encoder__pose__kind": "nets.py:Steps"}
    without = {k: v for k, v in SETTINGS.items() if k != "model.weight"}
    values = {k: [v] for k, v in {**without, **{k.replace("__", "."): v for k, v in settings.items()}}.items()}
    specs = make_plan(Request([method], ["three.npz"], seeds=[1], overrides=values)).runs
    _, final = trained(specs, tmp_path)
    assert {m for m in ("voice", "face", "pose") if f"test/contribution/{m}" in final} == {"voice", "face", "pose"}


def test_tokens_cost_passes_that_are_counted(tmp_path: Path) -> None:
    values = {"epochs": ["1"], "encoder.kind": ["transformer"], "model.fusion": ["heads.py:Attending"]}
    (run,) = make_plan(Request(["joint"], ["three.npz"], modalities=("face", "pose"), seeds=[0], overrides=values)).runs
    _, final = trained([run], tmp_path)
    assert final["cost/encoder_forwards"] == pytest.approx(2)


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize("method", ["joint", "mcr"])
def test_a_run_with_own_nets_resumes_to_a_bit_equal_end(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = plan_of(method, epochs="3")
    calm = trained(specs, tmp_path / "calm")
    job, train = job_of(specs[-1], tmp_path / "killed"), loop.train_epoch

    def dying(run: Training) -> None:
        if run.fit.epoch == 3:
            raise Killed
        train(run)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_epoch", dying)
        with pytest.raises(Killed):
            fit_run(job, lambda _: None, checkpoint_seconds=0)
    resumed: list[Event] = []
    fit_run(job, resumed.append, checkpoint_seconds=0)
    assert results(resumed) == calm
    states = [
        load_weights(job_of(specs[-1], tmp_path / home).weights_out, torch.device("cpu")) for home in ("calm", "killed")
    ]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_methods_start_from_the_same_weights_and_a_seed_decides_them(tmp_path: Path) -> None:
    starts = {}
    for method in ("joint", "multi-loss"):
        (spec,) = plan_of(method, epochs="0")
        run = loop.start(job_of(spec, tmp_path))
        starts[method] = {k: v.clone() for k, v in run.fit.model.state_dict().items()}
    assert starts["joint"].keys() == starts["multi-loss"].keys()
    assert all(torch.equal(v, starts["multi-loss"][k]) for k, v in starts["joint"].items())


def test_a_run_whose_files_are_gone_stays_in_the_plan_of_nobody(tmp_path: Path) -> None:
    """What was trained is read without them; what is to be trained says which file is missing."""
    (spec,) = plan_of("joint")
    (tmp_path / "nets.py").unlink()
    with pytest.raises(Exception, match=r"encoder file 'nets\.py' does not exist"):
        fit_run(job_of(spec, tmp_path), lambda _: None)


def test_a_method_and_its_net_may_share_a_file(tmp_path: Path) -> None:
    """The class that the method knows is the one that the model is made of."""
    method = (
        "\n\nfrom mcr_bench.methods.base import Method\n\n\nclass Mine(Method):\n    name = 'mine'\n\n"
        "    def build(self, model):\n        assert isinstance(model.encoders['voice'].net, Scaled)\n"
    )
    (tmp_path / "nets.py").write_text((tmp_path / "nets.py").read_text() + method)
    _, final = trained(plan_of("nets.py:Mine"), tmp_path)
    assert final["test/accuracy"] >= 0
