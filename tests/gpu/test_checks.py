"""The checks of `make test-gpu` are no blind code: on the CPU they pass, small, and each of them can fail."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.tests.gpu import comparisons, numbers, run, sharing, steps
from mcr_bench.tests.gpu.checks import Check, Place, Skipped, carry_out
from mcr_bench.tests.gpu.training import array_file

ON_A_CPU: dict[str, Check] = {
    "steps": steps.no_waiting,
    "batches": steps.batches,
    "agreement": numbers.agreement,
    "arrays": comparisons.arrays,
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The CPU, with little to train."""
    return Place("cpu", tmp_path, small=True)


@pytest.mark.parametrize("name", ON_A_CPU)
def test_a_check_passes_on_the_cpu(place: Place, name: str) -> None:
    result, trace = carry_out(name, ON_A_CPU[name], place)
    assert result.verdict == "PASS", trace
    assert result.text


@pytest.mark.parametrize("check", [sharing.out_of_memory, sharing.too_large])
def test_what_the_cpu_cannot_show_is_skipped_with_the_reason(place: Place, check: Check) -> None:
    assert str(carry_out("name", check, place)[0]) == "SKIPPED name: memory runs out on a GPU alone"


def raising(error: BaseException) -> Check:
    def check(_: Place) -> str:
        raise error

    return check


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (lambda _: "3 runs", "PASS    name: 3 runs"),
        (lambda _: None, "PASS    name"),
        (raising(AssertionError("weights differ")), "FAIL    name: AssertionError: weights differ"),
        (raising(RuntimeError("no kernel")), "FAIL    name: RuntimeError: no kernel"),
        (raising(Skipped("no GPU")), "SKIPPED name: no GPU"),
        (raising(ModuleNotFoundError("x", name="seaborn")), "SKIPPED name: seaborn is not installed"),
        (raising(ModuleNotFoundError("x", name="mcr_bench.y")), "FAIL    name: ModuleNotFoundError: x"),
    ],
)
def test_how_a_check_ended_is_one_line(place: Place, check: Check, line: str) -> None:
    assert str(carry_out("name", check, place)[0]) == line


def test_all_checks_are_made_and_one_failure_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"a": {"bad": raising(ValueError("no")), "good": lambda _: "fine"}, "b": {"other": lambda _: None}}
    monkeypatch.setattr(run, "PARTS", parts)
    assert run.main(["--device", "cpu"]) == 1
    told = capsys.readouterr().out
    assert [re.split(r" \(|;", line)[0] for line in told.splitlines()[1:]] == [
        "FAIL    a: bad: ValueError: no",
        "PASS    a: good: fine",
        "PASS    b: other",
        "1 failed",
    ]
    assert run.main(["--device", "cpu", "--part", "b"]) == 0
    assert "a: " not in capsys.readouterr().out


def test_without_a_gpu_nothing_is_checked_and_that_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "gpu_count", lambda: 0)
    for device in ("auto", "cuda", "cuda:3"):
        assert run.main(["--device", device]) == 0
        assert "no GPU" in capsys.readouterr().out
    assert run.main([]) == 0


@pytest.mark.parametrize("arguments", [["--part", "nothing"], ["--device", "gpu"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--device", "cpu", *arguments]) == 2
    assert "Allowed: " in capsys.readouterr().out


def test_other_weights_after_an_epoch_are_seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device that computes in lower precision: the second of two trainings is rounded."""
    train, calls = numbers.train_epoch, []

    def rounded(training: Any) -> None:
        train(training)
        calls.append(None)
        if len(calls) % 2 == 0:
            with torch.no_grad():
                for p in training.fit.model.parameters():
                    p.copy_(p.bfloat16())

    monkeypatch.setattr(numbers, "train_epoch", rounded)
    with pytest.raises(AssertionError, match="joint differs by"):
        numbers.agreement(place)


def test_a_step_that_waits_is_seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU would report it, for every method by name."""

    def unwatched(_: Any) -> None:
        raise RuntimeError("called a synchronizing CUDA operation")

    class Here:
        """Jobs are done in this process."""

        map = staticmethod(map)

    monkeypatch.setattr(steps, "unwatched_steps", unwatched)
    monkeypatch.setattr(steps, "processes", lambda *_, **__: Here())
    with pytest.raises(AssertionError, match=r"joint .*: called a synchronizing CUDA operation; mcr .*: called"):
        steps.no_waiting(place)


def test_the_array_file_has_three_modalities_of_three_kinds(tmp_path: Path) -> None:
    import numpy as np

    with np.load(array_file(tmp_path)) as arrays:
        assert sorted(arrays[name].ndim for name in arrays if name.startswith("x_")) == [2, 3, 4]
        assert {part: set(arrays["y"][arrays["split"] == part]) for part in ("train", "val", "test")} == {
            part: {0, 1, 2} for part in ("train", "val", "test")
        }
