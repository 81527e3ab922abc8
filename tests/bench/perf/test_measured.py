"""How a number is made of times, what is timed in which turn, and which network stands on either side of a ratio."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.perf import loops, measured, workloads
from mcr_bench.bench.perf.measured import Machine, in_turns, machine, of_rounds, ratio, seconds
from mcr_bench.bench.perf.parts import memory, methods, steps, waiting
from mcr_bench.bench.perf.table import table
from mcr_bench.bench.training.loop import train_epoch
from mcr_bench.tests.bench.perf.tiny import TINY, hand_clock, quick, tiny_frames, tiny_workloads
from mcr_bench.tests.support.cuda import StayOnCpu, pretend_gpus

pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available or torch_xla is imported")  # pretended GPUs
CPU = torch.device("cpu")
HERE = machine("cpu")


def test_works_take_turns_after_a_round_that_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    hand, order = hand_clock(monkeypatch), []
    times: Iterator[float] = iter([99.0, 6.0, 3.0, 8.0])

    def ours() -> None:
        order.append("ours")
        hand(next(times))

    def theirs() -> None:
        order.append("theirs")
        hand(2.0)

    assert in_turns([ours, theirs], CPU) == [[6.0, 3.0, 8.0], [2.0, 2.0, 2.0]]
    assert order == ["ours", "theirs"] * 4


def test_short_works_have_more_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = hand_clock(monkeypatch)
    for length, rounds in ((9.0, 3), (0.5, 6), (0.001, 15)):
        assert in_turns([lambda s=length: hand(s)], CPU) == [[pytest.approx(length)] * rounds]
    assert len(in_turns([lambda: hand(9.0)], CPU, least=5)[0]) == 5


def test_work_of_this_process_is_timed_in_its_cpu_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = SimpleNamespace(process_time=iter([1.0, 3.0]).__next__, perf_counter=iter([1.0, 6.0, 1.0, 8.0]).__next__)
    monkeypatch.setattr(measured, "time", clocks)
    pretend_gpus(monkeypatch, 1)
    assert seconds(lambda: None, CPU) == 2.0
    assert seconds(lambda: None, CPU, here=False) == 5.0
    assert seconds(lambda: None, machine("cuda:0").device) == 7.0


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    one = ratio("a / b", [6.0, 3.0, 8.0], [1.0, 3.0, 2.0])
    assert (one.title, one.value, one.unit, one.low, one.high) == ("a / b", 4.0, "ratio", 1.0, 6.0)
    assert of_rounds("t", [3.0, 1.0], "ms").value == 2.0


def test_a_gpu_is_waited_for_before_and_after_each_work(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = pretend_gpus(monkeypatch, 1)
    here = machine("cuda:0")
    seen: list[int] = []
    in_turns([lambda: seen.append(cuda.synchronisations)], here.device)
    assert seen[:3] == [0, 1, 3]
    assert cuda.synchronisations == 2 * (len(seen) - 1)


def test_every_method_that_trains_from_scratch_is_held_against_joint_and_some_on_images_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_workloads(monkeypatch)
    quick(monkeypatch)
    titles = [one.title for one in methods.methods(HERE)]
    classes = list(map(registry.method, registry.method_names()))
    alone = {"unimodal", "ensemble", "joint", *(c.name for c in classes if c().requires(("m1", "m2")))}
    others = [name for name in registry.method_names() if name not in alone]
    plain = [title for title in titles if "(" not in title]
    some = [name for name in others if name in table()["everywhere"]]
    assert len(some) == len(table()["everywhere"]) > 0
    assert plain == [
        *(f"images fp32: {name} / joint" for name in some),
        *(f"vectors fp32: {name} / joint" for name in others),
    ]
    assert [title for title in titles if "(" in title] == [f"{n} fp32: agm (zero_path=detach) / joint" for n in TINY]


def test_on_a_gpu_some_methods_are_timed(gpu: Machine) -> None:
    for workload in TINY.values():
        assert {cls.name for _, cls, _ in methods.chosen(gpu, workload)} == set(table()["everywhere"])


def test_the_loops_beside_the_harness_learn_what_it_learns() -> None:
    """On one batch, where the order does not matter: the bare loop to the same weights, the fast one to close ones."""
    one = TINY["images"]._replace(samples=4)
    run, bare = (workloads.training_run(HERE, one, workloads.reference_method()) for _ in range(2))
    reference = loops.reference_loop(HERE, one, bare)
    before = {name: p.detach().clone() for name, p in run.fit.model.named_parameters()}
    train_epoch(run)
    loops.bare_loop(bare)()
    reference()
    after = dict(run.fit.model.named_parameters())
    assert any(not torch.equal(before[name], p) for name, p in after.items())
    for name, p in bare.fit.model.named_parameters():
        torch.testing.assert_close(
            p, after[name], rtol=1e-4, atol=2e-3
        )  # Adam turns rounding of small gradients to steps


def test_a_timed_run_takes_every_sample_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = workloads.training_run(HERE, TINY["vectors"]._replace(samples=10), workloads.reference_method())
    seen: list[int] = []
    take = run.fit.train.training_batch
    monkeypatch.setattr(run.fit.train, "training_batch", lambda index: seen.extend(index.tolist()) or take(index))
    train_epoch(run)
    assert sorted(seen) == list(range(10))


def test_workloads_are_those_that_the_documents_name() -> None:
    """Spectrogram and frames of the MCR paper's CREMA-D preset, and the vectors of small sets in 32 steps of 64."""
    for kind, batch, frames in (("cpu", 16, (3, 224, 224)), ("cuda", 32, (3, 3, 224, 224))):
        resnet, mlp = workloads.WORKLOADS[kind]["resnet18"], workloads.WORKLOADS[kind]["mlp"]
        assert (resnet.shapes, resnet.batch) == ({"m1": (1, 257, 188), "m2": frames}, batch)
        assert (mlp.shapes, mlp.samples / mlp.batch) == ({"m1": (32,), "m2": (32,)}, 32)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A pretended GPU that trains the small networks."""
    tiny_workloads(monkeypatch)
    workloads.random_samples.cache_clear()
    pretend_gpus(monkeypatch, 1)
    return machine("cuda:0")


def on_gpu(part: Callable[[Machine], Iterator[object]], here: Machine) -> list[str]:
    with StayOnCpu():
        return [one.title for one in part(here)]  # type: ignore[attr-defined]


def test_a_gpu_is_timed_in_each_precision_beside_the_reference_loop(
    gpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    titles = on_gpu(steps.steps, gpu)
    for precision in ("fp32", "tf32", "bf16"):
        at = f"images {precision}: "
        assert [title.removeprefix(at) for title in titles if title.startswith(at)] == [
            "joint, ms per step",
            "bare loop, ms per step",
            "reference loop, ms per step",
            "harness / bare loop",
            "joint / reference loop",
        ]
    plain = "bare loop with Adam as it comes"
    of_times = ("joint, ms per step", "bare loop, ms per step", f"{plain}, ms per step")
    assert [title for title in titles if title.startswith("vectors")] == [
        f"vectors fp32: {what}" for what in (*of_times, "harness / bare loop", f"harness / {plain}")
    ]


@pytest.mark.slow  # ten seconds
def test_memory_is_measured_on_a_gpu_of_the_methods_that_need_most(gpu: Machine) -> None:
    titles = on_gpu(memory.memory, gpu)
    assert titles[:4] == [
        "images fp32: joint, peak memory",
        "images fp32: mcr / joint, peak memory",
        "images fp32: agm / joint, peak memory",
        "images fp32: agm (zero_path=detach) / joint, peak memory",
    ]


@pytest.mark.slow  # a quarter of a minute
def test_waiting_is_measured_on_a_gpu_with_rows_read_ahead_and_on_the_device(
    gpu: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    monkeypatch.setitem(workloads.PRECISIONS, "cuda", ("fp32", "tf32"))
    monkeypatch.setattr(waiting, "CLIPS", {"cuda": 6})
    tiny_frames(monkeypatch)
    titles = on_gpu(waiting.waiting, gpu)
    assert titles == [
        "waiting for data, read ahead: images fp32",
        "waiting for data, on the device: images fp32",
        "reader: pinned batches, most at a time",
    ]
