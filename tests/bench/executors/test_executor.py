"""The local executor, with runs that only pretend to train: what is recorded, order, failures, devices."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcr_bench.bench.core.device import devices
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Silent
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import ends, epochs, labels, row, run

fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures


class Watch(Silent):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_plan(self, total: int, done: int) -> None:
        self.seen.append((total, done))

    def on_start(self, spec: Any) -> None:
        self.seen.append(spec.label)

    def on_epoch(self, spec: Any, event: Any) -> None:
        self.seen.append(event.epoch)

    def on_end(self, spec: Any, status: str) -> None:
        self.seen.append((spec.label, status))


def test_runs_are_recorded_and_watched_and_leave_no_litter(fake: ModuleType, record: Record, trace: Path) -> None:
    spec, watch = fake.Spec("one", trace), Watch()
    outcome = run([spec], record, observer=watch, done=4)
    assert (outcome.finished, outcome.failed) == ([spec], [])
    assert watch.seen == [(5, 4), "one", 1, 2, 3, ("one", "finished")]
    found = row(record, spec)
    assert (found.status, found.costs.seconds, found.device) == ("finished", 1.5, "cpu")
    assert found.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found.metrics["test/accuracy"] == 0.5
    assert epochs(record, spec) == [1, 2, 3]
    assert not (record.home / "work" / spec.key).exists()
    assert not (record.home / "locks" / f"{spec.key}.lock").exists()
    assert (record.home / "weights" / f"{spec.key}.pt").exists()


def test_dependencies_come_first_and_are_shared(fake: ModuleType, record: Record, trace: Path) -> None:
    first, second = fake.Spec("first", trace), fake.Spec("second", trace)
    both = fake.Spec("both", trace, dependencies=(first, second))
    chain = fake.Spec("chain", trace, dependencies=(both, first))
    outcome = run([chain, both, first, second], record, keep_weights=lambda _: False)
    assert sorted(labels(outcome.finished)[:2]) == ["first", "second"]
    assert labels(outcome.finished)[2:] == ["both", "chain"]
    assert len(ends(trace)) == 4
    assert not (record.home / "weights" / f"{chain.key}.pt").exists()
    assert (record.home / "weights" / f"{first.key}.pt").exists()


def test_a_dependency_whose_weights_are_gone_is_trained_again(fake: ModuleType, record: Record, trace: Path) -> None:
    base = fake.Spec("base", trace)
    run([base], record)
    (record.home / "weights" / f"{base.key}.pt").unlink()
    outcome = run([fake.Spec("dependent", trace, dependencies=(base,))], record)
    assert labels(outcome.finished) == ["base", "dependent"]


def test_failures_stay_alone_but_take_their_dependents(fake: ModuleType, record: Record, trace: Path) -> None:
    bad = fake.Spec("bad", trace, "raise")
    needs = fake.Spec("needs bad", trace, dependencies=(bad,))
    specs = [bad, needs, fake.Spec("deeper", trace, dependencies=(needs,)), fake.Spec("good", trace)]
    specs += [
        fake.Spec("wrong", trace, "refuse"),
        fake.Spec("mute", trace, "silent"),
        fake.Spec("lost", trace, "no predictions"),
    ]
    outcome = run(specs, record)
    reasons = {failure.spec.label: failure.reason for failure in outcome.failed}
    assert labels(outcome.finished) == ["good"]
    assert reasons["bad"] == "ValueError: bad luck"
    assert reasons["wrong"] == "no such thing. Bring one."
    assert reasons["needs bad"] == "needs bad, which failed"
    assert reasons["deeper"] == "needs needs bad, which failed"
    assert "without saying" in reasons["mute"]
    assert "could not be recorded" in reasons["lost"]
    assert {row(record, spec).status for spec in (bad, *specs[-2:])} == {"failed"}
    log = next(failure.log for failure in outcome.failed if failure.spec is bad).read_text()
    assert "on the way" in log
    assert "bad luck" in log


def test_an_entry_that_cannot_be_imported_fails_the_run(fake: ModuleType, record: Record, trace: Path) -> None:
    outcome = run([fake.Spec("lonely", trace)], record, entry="fake_runs:no_such_function")
    assert "no_such_function" in outcome.failed[0].reason


def test_finished_meanwhile_is_not_trained_and_force_trains(fake: ModuleType, record: Record, trace: Path) -> None:
    spec = fake.Spec("again", trace)
    for force, times in ((False, 1), (False, 1), (True, 2)):
        assert run([spec], record, force=force).finished == [spec]
        assert len(ends(trace)) == times


def test_devices() -> None:
    assert devices("cpu", 2) == ["cpu", "cpu"]
    for choice in ("gpu", "cuda:x"):
        with pytest.raises(UserError, match=choice):
            devices(choice, 1)


@pytest.mark.parametrize(
    ("choice", "gpus", "expected"),
    [
        ("auto", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("auto", 0, ["cpu"] * 3),
        ("cuda:1", 2, ["cuda:1"] * 3),
        ("cuda", 1, ["cuda:0"] * 3),
    ],
)
def test_workers_are_dealt_over_gpus(
    monkeypatch: pytest.MonkeyPatch, choice: str, gpus: int, expected: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert devices(choice, 3) == expected


@pytest.mark.parametrize(("choice", "gpus"), [("cuda", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, choice: str, gpus: int) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(UserError, match=choice):
        devices(choice, 1)
