"""The parts of `make perf` that read data or train in other processes, each on something small."""

import multiprocessing
import threading
from pathlib import Path

import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.perf import workloads
from mcr_bench.bench.perf.frames import cached_split, random_cache
from mcr_bench.bench.perf.measured import machine
from mcr_bench.bench.perf.parts import determinism, packing, passes, reading, short, waiting
from mcr_bench.bench.problem.samples import Split
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Observer
from mcr_bench.tests.bench.perf.tiny import TINY, hand_clock, quick

HERE = machine("cpu")


def test_the_cache_is_held_against_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three ratios of reading; nothing is decoded here."""
    hand = hand_clock(monkeypatch)
    split = Split({"m1": torch.zeros(64, 3)}, torch.arange(64) % 6, [str(i) for i in range(64)])
    monkeypatch.setattr(reading, "time", waiting.time)
    monkeypatch.setattr(reading, "make_clips", lambda _: None)
    monkeypatch.setattr(reading, "make_cache", lambda *_: None)
    monkeypatch.setattr(reading, "cached_split", lambda *_, **__: split)
    monkeypatch.setattr(reading.Files, "batch", lambda *_: hand(6.0))
    monkeypatch.setattr(Split, "training_batch", lambda *_: hand(2.0))
    assert {one.title: one.value for one in reading.reading(HERE)} == {
        "data: cache / files, reading only": 3.0,
        "data: cache / files, reading and resizing 256 to 224": 3.0,
        "data: cache / files, training augmentation": 3.0,
    }


def test_the_share_of_a_cpu_is_the_time_in_which_batches_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = hand_clock(monkeypatch)
    take = Split.training_batch
    split = workloads.random_samples(tuple(TINY["vectors"].shapes.items()), 8, torch.device("cpu"))
    monkeypatch.setattr(Split, "training_batch", lambda self, index: hand(2.0) or take(self, index))
    monkeypatch.setattr(waiting, "train_epoch", lambda run: hand(3.0) or run.fit.train.training_batch(torch.arange(2)))
    one = waiting.of_a_cpu(HERE, "waiting", TINY["vectors"], split)
    assert (one.value, one.unit) == (0.4, "share")


def test_the_share_of_a_gpu_is_what_ready_batches_save(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The clock moves by 1 for a step and by 1 more for a batch that is read; half of the epoch is waiting."""
    hand = hand_clock(monkeypatch)
    split = cached_split(random_cache(tmp_path, 4), augment=True)

    def epoch(run: workloads.Training) -> None:
        hand(1.0 if isinstance(run.fit.train, waiting.Ready) else 2.0)
        assert len(run.fit.train.training_batch(torch.arange(2)).target) == 2

    monkeypatch.setattr(waiting, "train_epoch", epoch)
    small = TINY["images"]._replace(shapes={"m1": (1, 257, 188), "m2": (3, 3, 224, 224)}, batch=2)
    (one,) = waiting.of_a_gpu(HERE, "title", small, "fp32", split)
    assert (one.title, one.value) == ("waiting for data, read ahead: title", 0.5)


def test_a_random_cache_holds_frames_spectrograms_and_labels(tmp_path: Path) -> None:
    batch = cached_split(random_cache(tmp_path, 4), augment=False).batch(torch.tensor([3, 1]))
    assert {m: tuple(x.shape) for m, x in batch.inputs.values.items()} == {
        "m1": (2, 1, 257, 188),
        "m2": (2, 3, 3, 224, 224),
    }
    assert batch.target.tolist() == [3, 1]
    assert not torch.equal(batch.inputs.values["m2"][0], batch.inputs.values["m2"][1])


def test_packing_counts_the_time_after_the_first_run_of_every_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting and the first runs do not count; then a run takes 3 s, and with two at a time 4 s for both."""
    hand, asked = hand_clock(monkeypatch), []
    monkeypatch.setattr(packing, "time", waiting.time)

    class Pretended:
        def execute(self, plan: TrainingPlan, record: Record, observer: Observer) -> None:
            asked.append((plan.jobs, plan.runs_per_gpu, plan.device, len(plan.runs)))
            hand(10.0)
            for number, spec in enumerate(plan.runs):
                observer.on_start(spec)
                hand(3.0 if plan.jobs == 1 else 4.0 * (number % 2))
                observer.on_end(spec, "finished")

    monkeypatch.setattr(packing, "LocalExecutor", Pretended)
    monkeypatch.setattr(packing, "Record", lambda *_: None)
    monkeypatch.setattr(packing, "AT_ONCE", (1, 2))
    monkeypatch.setattr(packing.os, "cpu_count", lambda: 2)
    one, two, gain = packing.packing(HERE)
    assert (one.value, two.value, gain.value) == (1200.0, 1800.0, 1.5)
    assert asked == [(1, None, "cpu", 3), (2, None, "cpu", 6)]


def test_a_packed_run_that_fails_is_an_error() -> None:
    (spec,) = packing.short_runs(1)
    with pytest.raises(RuntimeError, match=r"a run of joint .* ended as failed"):
        packing.Ends().on_end(spec, "failed")


def test_the_packed_runs_are_joint_training_on_the_set_without_files() -> None:
    runs = packing.short_runs(3)
    assert [(run.method, run.dataset, run.seed) for run in runs] == [("joint", "synthetic", seed) for seed in range(3)]
    assert not registry.dataset(packing.generated_dataset()).suffixes


def test_a_short_run_says_what_it_takes_beside_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    for name, value in (("LEAST", 1), ("EPOCHS", 2), ("TRAIN", 64)):
        monkeypatch.setattr(short, name, value)
    beside, diagnostics = short.short(HERE)
    assert beside.title == "a run of 2 epochs: share beside its steps"
    assert diagnostics.title == "a run of 2 epochs: share of diagnostics"
    assert 0 < diagnostics.value < beside.value < 1


def test_determinism_is_held_against_a_process_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    monkeypatch.setattr(determinism, "workloads", lambda _: {"mlp": workloads.WORKLOADS["cpu"]["mlp"]})
    (one,) = determinism.determinism(HERE)
    assert one.title == "mlp fp32: --deterministic / without"
    assert one.value > 0


def test_an_error_in_the_process_that_trains_is_told() -> None:
    ours, theirs = multiprocessing.Pipe()
    thread = threading.Thread(target=determinism.serve, args=(theirs, "cpu", False))
    thread.start()
    with pytest.raises(RuntimeError, match="KeyError: 'no such network'"):
        determinism.epoch(ours, ("no such network", "fp32"))
    ours.close()
    thread.join()
    theirs.close()


def test_passes_are_counted_of_every_method_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: joint makes one pass each way, MMPareto goes back twice, a frozen start goes back through nothing."""
    names = ["ensemble", "joint", "mmpareto", "uni-pre-frozen", "unimodal"]
    monkeypatch.setattr(registry, "method_names", lambda: names)
    values = {one.title: one.value for one in passes.passes(HERE)}
    assert {title.partition(":")[0] for title in values} == {"joint", "mmpareto", "uni-pre-frozen"}
    for name, forward, backward in (("joint", 1, 1), ("mmpareto", 1, 2), ("uni-pre-frozen", 1, 0)):
        assert values[f"{name}: encoder forward passes / joint"] == forward
        assert values[f"{name}: encoder backward passes / joint"] == backward
    assert values["joint: memory kept for the backward pass / joint"] == 1
    assert 0 < values["uni-pre-frozen: memory kept for the backward pass / joint"] < 0.5
