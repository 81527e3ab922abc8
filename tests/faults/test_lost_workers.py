"""Workers, and nodes of a cluster, that are lost while they train."""

import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.core.workers import pool
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.chosen import executor
from mcr_bench.bench.executors.cluster import dispatch
from mcr_bench.bench.executors.cluster import executor as ray_executor
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Outcome, Silent
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs.dying import EPOCHS, MOMENTS, Spec, value_after
from mcr_bench.tests.support.runs.ray_nodes import Nodes, ray_nodes, session, wait_for

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "a worker is killed (by the kernel for memory, by a signal, by its own exit), or a node of a cluster is lost, at "
    "any moment of a run",
    "the run goes on in another worker, or on another node, from its last checkpoint if that can be read there, else "
    "from its start, to the same numbers, with every epoch on record once; what dies twice without getting further "
    "fails with the cause, and the others go on",
)
ENTRY = "mcr_bench.tests.support.runs.dying:train"
GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")  # of version 1, and 2
KINDS = ("signal SIGKILL", "signal SIGSEGV", "signal SIGABRT", "signal SIGTERM", "worker SIGKILL", "exit 3", "exit 0")


class Watch(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_retry(self, spec: Any, reason: str) -> None:
        self.told.append(reason)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(home=tmp_path / "home")


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of processes that may use 64 MiB together."""
    place = next((root for root in GROUPS if (root / "cgroup.procs").exists()), None)
    if place is None or not os.access(place, os.W_OK):
        pytest.skip("limiting memory needs root and a writable /sys/fs/cgroup")
    made = place / f"mcr-bench-{secrets.token_hex(4)}"
    made.mkdir()
    try:
        limit = next((made / name for name in ("memory.limit_in_bytes", "memory.max") if (made / name).exists()), None)
        if limit is None:
            pytest.skip("/sys/fs/cgroup limits no memory")
        limit.write_text(str(2**26))
        yield made
    finally:
        with suppress(OSError):
            made.rmdir()


def train(specs: list[Spec], record: Record, observer: Any = None, name: str = "local", **options: Any) -> Outcome:
    plan: Any = TrainingPlan(specs, **({"device": "cpu", "jobs": 2, "entry": ENTRY} | options))  # type: ignore[arg-type]
    return executor(name).execute(plan, record, observer or Silent())


def whole(record: Record, specs: list[Spec]) -> None:
    """Every run is finished once, with the number of a calm run, and every epoch was recorded once."""
    rows = {row.key: row for row in record.rows()}
    for spec in specs:
        row = rows[spec.key]
        assert (row.status, row.metrics["test/accuracy"]) == ("finished", value_after(EPOCHS)), spec
        assert [step for step, _ in record.history(row.run_id)["loss"]] == [1, 2, 3, 4], spec
    assert len(rows) == len(record.client.search_runs([e.experiment_id for e in record.client.search_experiments()]))


@pytest.mark.parametrize("how", ["signal SIGKILL"])
@pytest.mark.parametrize("moment", ["writing", "end"])
def test_a_run_survives_a_kill(record: Record, how: str, moment: str) -> None:
    """Killed while its checkpoint is half written, and when all is done but said."""
    specs = [Spec("dies", how, moment), Spec("beside")]
    assert train(specs, record).failed == []
    whole(record, specs)


@pytest.mark.slow
@pytest.mark.parametrize("how", KINDS)
def test_every_kind_of_death_at_every_moment(record: Record, how: str) -> None:
    """Every kind of death: at the start, in an epoch, while writing, after it, and at the end."""
    specs = [Spec(f"dies {moment}", how, moment) for moment in MOMENTS]
    assert train(specs, record).failed == []
    whole(record, specs)


@pytest.mark.slow
def test_what_starts_from_a_killed_run_waits_for_it(record: Record) -> None:
    """A run that others start from is killed: they come after it."""
    first = Spec("first", "signal SIGKILL", "end")
    specs = [Spec("second", "signal SIGSEGV", "start", dependencies=(first,)), first]
    assert train(specs, record).failed == []
    whole(record, specs)


@pytest.mark.slow
def test_all_workers_die_at_once(record: Record) -> None:
    """Every worker is killed, again and again."""
    specs = [Spec(f"dies {number}", "worker SIGKILL", "checkpoint") for number in range(6)]
    assert train(specs, record, jobs=3).failed == []
    whole(record, specs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("signal SIGKILL", "its worker process was ended by SIGKILL; out of memory?, 2 times"),
        ("signal SIGSEGV", "its worker process was ended by SIGSEGV, 2 times"),
        ("exit 3", "its worker process exited with code 3, 2 times"),
    ],
)
def test_what_keeps_dying_fails_with_the_cause_and_leaves_the_others(record: Record, how: str, says: str) -> None:
    """A run that kills every worker fails with the cause; the others finish."""
    specs = [Spec("deadly", how, "start", times=9), Spec("beside")]
    outcome = train(specs, record)
    assert [failure.reason for failure in outcome.failed] == [says]
    assert outcome.finished == specs[1:]


@pytest.mark.slow
def test_the_kernel_is_named_where_it_has_killed_for_memory(record: Record, group: Path) -> None:
    """The kernel kills a run for lack of memory, in a group of processes with a limit: reported as that."""
    outcome = train([Spec("too large", f"devour {group}", "epoch", times=9), Spec("beside")], record)
    (failure,) = outcome.failed
    assert "killed its worker process because memory was short" in failure.reason
    assert [spec.label for spec in outcome.finished] == ["beside"]


@pytest.mark.slow
def test_a_run_that_the_kernel_killed_once_goes_on(record: Record, group: Path) -> None:
    """The kernel kills a run for lack of memory once."""
    specs = [Spec("large once", f"devour {group}", "checkpoint")]
    assert train(specs, record).failed == []
    whole(record, specs)


@pytest.mark.unprotected
def test_without_a_second_worker_a_kill_fails_the_run(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a second worker for a run, one kill fails it."""
    monkeypatch.setattr(pool, "ATTEMPTS", 1)
    outcome = train([Spec("dies", "signal SIGKILL", "epoch")], record)
    assert [failure.spec.label for failure in outcome.failed] == ["dies"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with ray_nodes() as started:
        started.add(2)
        yield started


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several nodes fill the local record of these tests, which users are kept from."""
    monkeypatch.setattr(ray_executor, "database_file", lambda _: None)


def by_ray(nodes: Nodes, specs: list[Spec], record: Record, observer: Any = None) -> Outcome:
    return train(specs, record, observer, "ray", address=nodes.address, jobs=None)


def hangs(record: Record, spec: Spec) -> Callable[[], bool]:
    return (record.home / "work" / spec.key / "deaths").exists


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_workers_of_a_cluster_die_in_every_way(nodes: Nodes, record: Record) -> None:
    """On a cluster, workers die in every way, at every moment."""
    watch, specs = Watch(), [Spec(f"{how} {moment}", how, moment) for how in KINDS for moment in ("start", "writing")]
    specs += [Spec(f"SIGKILL {moment}", "signal SIGKILL", moment) for moment in MOMENTS]
    assert by_ray(nodes, specs, record, watch).failed == []
    whole(record, specs)
    assert len(watch.told) == len(specs)
    assert {told.rpartition(": ")[2] for told in watch.told} == {
        "it starts again from its start",
        "it starts again from its last checkpoint",
    }


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_a_task_of_ray_is_killed(nodes: Nodes, record: Record) -> None:
    """On a cluster, the process in which Ray runs a task is killed."""
    spec, watch = Spec("task", "hang", "checkpoint"), Watch()

    def strike() -> None:
        wait_for(hangs(record, spec))
        for node in nodes.started:
            for pid in session(node.pid):
                if "ray::train_here" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)

    _meanwhile(strike)
    assert by_ray(nodes, [spec], record, watch).failed == []
    whole(record, [spec])
    assert [told.startswith("its worker process was killed") for told in watch.told] == [True]


@pytest.mark.slow
@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("moment", ["start", "writing", "checkpoint", "end"])
@pytest.mark.parametrize("blind", [False, True])
def test_a_node_is_lost(record: Record, moment: str, blind: bool) -> None:
    """On a cluster, the node of a run is lost, which saw the home of the record or did not."""
    seen = record.home.parent / "hangs"  # by every node
    spec, watch = Spec(f"lost {moment}", f"hang {seen}", moment), Watch()
    with ray_nodes() as own:
        doomed = own.add_blind(record.home) if blind else own.add()

        def strike() -> None:
            wait_for(seen.exists)
            own.add()
            own.kill(doomed)

        _meanwhile(strike)
        assert by_ray(own, [spec], record, watch).failed == []
    whole(record, [spec])
    (told,) = watch.told
    assert told.startswith("its node was lost")


@pytest.mark.slow
@pytest.mark.usefixtures("many")
@pytest.mark.unprotected
def test_without_a_second_try_a_lost_node_fails_the_run(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a second try, the run of a lost node fails."""
    monkeypatch.setattr(dispatch, "MOST_NODES", 1)
    spec = Spec("lost", "hang", "checkpoint")
    with ray_nodes() as own:
        doomed = own.add()

        def strike() -> None:
            wait_for(hangs(record, spec))
            own.kill(doomed)

        _meanwhile(strike)
        assert [failure.spec for failure in by_ray(own, [spec], record).failed] == [spec]


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_the_head_of_the_cluster_is_lost(record: Record) -> None:
    """On a cluster, the head is lost: the command ends, and the next one goes on."""
    spec = Spec("headless", "hang", "checkpoint")
    with ray_nodes() as own:
        own.add()

        def strike() -> None:
            wait_for(hangs(record, spec))
            own.kill(own.head)

        _meanwhile(strike)
        (failure,) = by_ray(own, [spec], record).failed
    assert failure.reason.startswith("the connection to the Ray cluster was lost")
    assert train([spec], record).failed == []
    whole(record, [spec])


def _meanwhile(action: Callable[[], object]) -> None:
    threading.Thread(target=action, daemon=True).start()
