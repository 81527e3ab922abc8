"""`encoder.MODALITY.drop_pathway`: steps drop a whole modality, alike for all methods; the key has it where it acts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.training import loop
from mcr_bench.bench.training.epochs import pathways_dropped
from mcr_bench.datasets.base import Batch
from mcr_bench.tests.support.runs.hooked import SMALL, array_file, job_of, method_file, runs_of, same, trained

TRAINED = [n for n in registry.method_names() if registry.method(n).trains and registry.method(n).role != "unimodal"]
FROM_SCRATCH = [n for n in TRAINED if not registry.method(n)().requires(("a", "b"))]
TAKE_TURNS = ("aug", "mla", "reconboost")  # one modality learns at a time
STEADY = {"bss": {"bss__start": "1"}}  # all samples from the first epoch on
VARIANTS = [
    *((name, STEADY.get(name, {})) for name in FROM_SCRATCH if name not in TAKE_TURNS),
    ("agm", {"agm__masked_pass": "official", "model__fusion": "gated"}),
    ("mcr", {"mcr__perturb": "noise_input", "mcr__latents": "eval"}),
    ("mcr", {"mcr__perturb": "noise_input", "model__fusion": "gated"}),
]


@pytest.fixture
def data(tmp_path: Path) -> str:
    return array_file(tmp_path / "set.npz", 3)


def seen_steps(spec, home: Path, epochs: int = 1) -> list[tuple[list[str], dict[str, float]]]:  # type: ignore[no-untyped-def]
    """For each step the modalities that are dropped for all its samples, and the norm of each encoder's gradient."""
    run = loop.start(job_of(spec, home))
    steps: list[tuple[list[str], dict[str, float]]] = []
    step, update = run.method.train_step, run.fit.update

    def noting(batch: Batch) -> None:
        steps.append(([m for m, flags in batch.dropped.items() if flags.all()], {}))
        step(batch)

    def looking(losses: dict[str, torch.Tensor]) -> None:
        for m in run.fit.model.modalities:
            grads = [p.grad for p in run.fit.model.parameters_of(m, "encoder")]
            steps[-1][1][m] = sum(float(g.norm()) for g in grads if g is not None)
        update(losses)

    run.method.train_step, run.fit.update = noting, looking  # type: ignore[method-assign]
    for _ in range(epochs):
        loop.run_epoch(run)
    return steps


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=[f"{n} {' '.join(s.values())}" for n, s in VARIANTS])
def test_with_every_method_a_dropped_encoder_gets_no_gradient(
    name: str, settings: dict[str, str], data: str, tmp_path: Path
) -> None:
    spec = runs_of(name, data, ("a", "b"), batch_size="3", encoder__b__drop_pathway="0.5", **settings)[-1]
    steps = seen_steps(spec, tmp_path)
    dropped = [norms["b"] for drawn, norms in steps if drawn == ["b"]]
    kept = [norms["b"] for drawn, norms in steps if not drawn]
    assert len(dropped) + len(kept) == len(steps) >= 8  # LFM holds some samples out
    assert dropped
    assert max(dropped) < 1e-5 < min(kept)  # OGM-GE adds noise of 1e-8 to a gradient of zeros
    assert min(norms["a"] for _, norms in steps) > 1e-5


@pytest.mark.parametrize("name", TRAINED)
def test_every_method_trains_to_its_end(name: str, data: str, tmp_path: Path) -> None:
    runs = runs_of(name, data, ("a", "b"), epochs="1", encoder__a__drop_pathway="0.8")
    results = [trained(run, tmp_path) for run in runs]
    assert np.isfinite(list(results[-1].final.values())).all()


def test_all_methods_drop_the_same_steps_and_the_order_of_modalities_does_not_matter(data: str, tmp_path: Path) -> None:
    drawn = []
    for name in ("joint", "mcr", "agm"):
        (spec,) = runs_of(name, data, batch_size="4", encoder__c__drop_pathway="0.5", encoder__a__drop_pathway="0.3")
        drawn.append([step for step, _ in seen_steps(spec, tmp_path / name, epochs=2)])
    assert drawn[0] == drawn[1] == drawn[2]
    assert ["c"] in drawn[0]
    assert [] in drawn[0]
    rates = {"a": 0.3, "c": 0.5}
    for place in range(30):
        turned = pathways_dropped(7, 2, place, dict(reversed(rates.items())))
        assert sorted(turned) == sorted(pathways_dropped(7, 2, place, rates))


@pytest.mark.parametrize("rate", [0.2, 0.8])
def test_the_share_of_dropped_steps_is_the_rate(rate: float) -> None:
    drawn = [
        bool(pathways_dropped(seed, epoch, place, {"audio": rate}))
        for seed in range(2)
        for epoch in range(10)
        for place in range(100)
    ]
    assert np.mean(drawn) == pytest.approx(rate, abs=4 * (rate * (1 - rate) / len(drawn)) ** 0.5)
    halves = drawn[:1000], drawn[1000:]
    assert halves[0] != halves[1]


def test_a_step_never_drops_all_modalities(data: str, tmp_path: Path) -> None:
    (spec,) = runs_of("joint", data, batch_size="1", encoder__drop_pathway="0.7")
    steps = [drawn for drawn, _ in seen_steps(spec, tmp_path)]
    assert {len(drawn) for drawn in steps} == {0, 1, 2}
    assert spec.pathways == {"a": 0.7, "b": 0.7, "c": 0.7}


def test_a_sample_keeps_what_it_would_otherwise_have_nothing_beside(tmp_path: Path) -> None:
    """A third of the samples has modality b alone."""
    lacks = np.arange(60) % 3 == 0
    (spec,) = runs_of("joint", array_file(tmp_path / "set.npz", present_a=~lacks), encoder__b__drop_pathway="0.9")
    run = loop.start(job_of(spec, tmp_path))
    seen: list[Batch] = []
    step = run.method.train_step
    run.method.train_step = lambda batch: (seen.append(batch), step(batch))  # type: ignore[method-assign,assignment]
    loop.run_epoch(run)
    dropping = [batch for batch in seen if batch.dropped]
    assert dropping
    assert all(torch.equal(batch.dropped["b"], batch.inputs.present["a"]) for batch in dropping)


def test_it_joins_what_the_method_drops(tmp_path: Path, data: str) -> None:
    body = '''
@dataclass
class Own(Method):
    """Drops modality b of every second sample."""

    name: ClassVar[str] = "own"

    def epoch_batches(self, epoch):
        order = self.fit.order()
        return EpochBatches(order, {"b": order % 2 == 0})
'''
    source = method_file(tmp_path, body)
    (spec,) = runs_of(source, data, batch_size="4", encoder__b__drop_pathway="0.5", encoder__c__drop_pathway="0.5")
    run = loop.start(job_of(spec, tmp_path))
    seen: list[Batch] = []
    step = run.method.train_step
    run.method.train_step = lambda batch: (seen.append(batch), step(batch))  # type: ignore[method-assign,assignment]
    loop.run_epoch(run)
    assert all(batch.dropped["b"][batch.index % 2 == 0].all() for batch in seen if (batch.index % 2 == 0).any())
    assert {"b", "c"} == {m for batch in seen for m in batch.dropped}
    whole = ["b" in batch.dropped and bool(batch.dropped["b"].all()) for batch in seen]
    assert any(whole)
    assert not all(whole)


@pytest.mark.parametrize("name", ["joint", "mlb"])
def test_a_killed_run_resumes_bit_equal(name: str, data: str, tmp_path: Path) -> None:
    (spec,) = runs_of(name, data, encoder__a__drop_pathway="0.8")
    assert same(trained(spec, tmp_path / "calm"), trained(spec, tmp_path / "killed", killed_in=3))


def keys(name: str, data: str, modalities: tuple[str, ...] | None = None, **settings: str) -> list[str]:
    return [run.key for run in runs_of(name, data, modalities, **settings)]


def test_it_is_in_the_key_only_where_it_acts(data: str) -> None:
    rate = {"encoder__a__drop_pathway": "0.8"}
    for name in ("unimodal", "ensemble"):
        assert keys(name, data) == keys(name, data, **rate)
    assert keys("joint", data) == keys("joint", data, encoder__a__drop_pathway="0", encoder__drop_pathway="0.0")
    assert keys("joint", data, ("b", "c")) == keys("joint", data, ("b", "c"), **rate)
    assert keys("joint", data, ("a",)) == keys("joint", data, ("a",), **rate)
    assert keys("joint", data) != keys("joint", data, **rate) != keys("joint", data, encoder__a__drop_pathway="0.7")
    *alone, whole = keys("uni-pre-finetuned", data)
    *alone_too, dropping = keys("uni-pre-finetuned", data, **rate)
    assert alone == alone_too
    assert whole != dropping


def test_it_is_a_setting_on_record_and_of_one_method_alone(data: str) -> None:
    (spec,) = runs_of("joint", data, joint__encoder__a__drop_pathway="0.8")
    assert spec.params()["encoder.a.drop_pathway"] == "0.8"
    assert "drop_pathway" in spec.overrides
    values = SMALL | {"joint.encoder.a.drop_pathway": ["0.8"]}
    both = make_plan(Request(["joint", "mlb"], [data], seeds=[1], overrides=values)).runs
    assert {run.method: run.pathways for run in both} == {"joint": {"a": 0.8}, "mlb": {}}
    assert not any("drop_pathway" in run.overrides for run in runs_of("unimodal", data, encoder__a__drop_pathway="0.8"))


def test_nets_of_the_users_own_are_dropped_too(data: str, tmp_path: Path) -> None:
    net = tmp_path / "net.py"
    net.write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self, shape, width):\n        super().__init__()\n"
        "        self.layer = nn.Linear(shape[0], width)\n\n"
        "    def forward(self, x):\n        return self.layer(x)\n"
    )
    settings = {"batch_size": "3", "encoder__b__kind": f"{net}:Net", "encoder__b__drop_pathway": "0.5"}
    (spec,) = runs_of("joint", data, ("a", "b"), **settings)
    assert spec.pathways == {"b": 0.5}
    steps = seen_steps(spec, tmp_path)
    assert {bool(drawn) for drawn, _ in steps} == {True, False}
    assert all((norms["b"] == 0) == (drawn == ["b"]) for drawn, norms in steps)


@pytest.mark.parametrize("value", ["-0.1", "1", "often"])
def test_other_values_are_refused(value: str, data: str) -> None:
    with pytest.raises(UserError, match=r"encoder\.drop_pathway=.* not allowed\. Allowed: number >= 0 and <= 0\.99"):
        runs_of("joint", data, encoder__a__drop_pathway=value)
