"""What `make perf` measures: what stands on either side of each ratio, and how a ratio is made of times."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.perf import data, methods
from mcr_bench.bench.problem.samples import Split
from mcr_bench.bench.training.loop import train_epoch


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the hand of the clock that the ratios read."""
    now = [0.0]

    def move(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0])
    monkeypatch.setattr(methods, "time", clock)
    monkeypatch.setattr(data, "time", clock)
    return move


def test_a_ratio_is_the_median_of_rounds_after_one_that_does_not_count(
    hand: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    times: Iterator[float] = iter([99.0, 6.0, 3.0, 8.0])
    assert methods.report_ratio("a title", lambda: hand(next(times)), lambda: hand(2.0), rounds=3) == 3.0
    assert capsys.readouterr().out.split() == ["a", "title", "3.000", "(rounds", "1.500", "to", "4.000)"]


def test_every_method_that_trains_from_scratch_is_held_against_joint_on_the_same_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(methods.WORKLOADS, "tiny", methods.Workload({"m1": (3,), "m2": (4,)}, 4, 8, "mlp"))
    titles = []
    monkeypatch.setattr(methods, "report_ratio", lambda title, ours, _: titles.append(title) or ours() or 1.0)
    assert methods.harness_ratio("tiny") | methods.method_ratios("tiny") == dict.fromkeys(titles, 1.0)
    classes = map(registry.method, registry.method_names())
    alone = {"unimodal", "ensemble", "joint", *(c.name for c in classes if c().requires(("m1", "m2")))}
    others = [f"tiny: {name} / joint" for name in registry.method_names() if name not in alone]
    assert titles == ["tiny: harness / bare loop", *others]


def test_workloads_are_those_that_the_documents_name() -> None:
    """Frame and spectrogram of the MCR paper's CREMA-D preset, and the vectors of small sets in 32 steps of 64."""
    resnet, mlp = methods.WORKLOADS["resnet18"], methods.WORKLOADS["mlp"]
    assert resnet.shapes == {"m1": (1, 257, 188), "m2": (3, 224, 224)}
    assert (mlp.shapes, mlp.samples / mlp.batch) == ({"m1": (32,), "m2": (32,)}, 32)


def test_a_timed_run_takes_every_sample_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.WORKLOADS, "tiny", methods.Workload({"m1": (3,), "m2": (4,)}, 4, 10, "mlp"))
    run = methods.training_run("tiny", methods.reference_method())
    seen: list[int] = []
    take = run.fit.train.training_batch
    monkeypatch.setattr(run.fit.train, "training_batch", lambda index: seen.extend(index.tolist()) or take(index))
    train_epoch(run)
    assert sorted(seen) == list(range(10))
    assert [p.grad is not None for p in run.fit.model.parameters() if p.requires_grad].count(True) > 0


def test_the_cache_is_held_against_files(hand: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three ratios of reading, and the share of an epoch in which the model waits; nothing is decoded here."""
    split = Split({"m1": torch.zeros(64, 3)}, torch.arange(64) % 6, [str(i) for i in range(64)])
    take = Split.training_batch
    monkeypatch.setattr(data, "make_clips", lambda _: None)
    monkeypatch.setattr(data, "make_cache", lambda *_: None)
    monkeypatch.setattr(data, "cached_split", lambda *_, **__: split)
    monkeypatch.setattr(data.Files, "batch", lambda *_: hand(6.0))
    monkeypatch.setattr(Split, "training_batch", lambda self, index: hand(2.0) or take(self, index))
    monkeypatch.setattr(data, "train_epoch", lambda run: hand(3.0) or run.fit.train.training_batch(torch.arange(2)))
    monkeypatch.setitem(methods.WORKLOADS, "tiny", methods.Workload({"m1": (3,)}, 2, 2, "mlp"))
    ratios = data.data_ratios(methods.training_run("tiny", methods.reference_method()))
    assert ratios == {
        "data: cache / files, reading only": 3.0,
        "data: cache / files, reading and resizing 256 to 224": 3.0,
        "data: cache / files, training augmentation": 3.0,
        "data: share of step time spent waiting": 0.4,
    }
