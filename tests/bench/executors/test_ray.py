"""The Ray executor, with runs that only pretend to train: what it takes, whom it refuses, order, losses, leftovers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.chosen import executor, executor_names
from mcr_bench.bench.executors.cluster import executor as ray_executor
from mcr_bench.bench.executors.cluster.messages import Room
from mcr_bench.bench.executors.cluster.resources import parse_resources, share_of
from mcr_bench.bench.executors.cluster.share import Node, Share
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Outcome, Silent
from mcr_bench.cli import app
from mcr_bench.tests.bench.executors.test_executor_processes import gone
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import ends, epochs, labels, row
from mcr_bench.tests.support.runs.ray_nodes import Nodes, ray_nodes, require_ray, wait_for

fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures
COMMAND = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_runs import Spec
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.chosen import executor
from mcr_bench.bench.executors.cluster import executor as ray_executor
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Silent
ray_executor.database_file = lambda _: None
if __name__ == "__main__":
    address = sys.argv[4] or None
    plan = TrainingPlan([Spec("stopped", Path(sys.argv[3]), "hang once")], device="cpu", entry="fake_runs:train",
                        address=address, resources={"cpu": 0.5})
    try:
        executor("ray").execute(plan, Record(home=Path(sys.argv[2])), Silent())
    except KeyboardInterrupt:
        print("interrupted")
"""


class Watch(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_retry(self, spec: Any, reason: str) -> None:
        self.told.append(reason)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with ray_nodes() as started:
        started.add(2)
        yield started


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several nodes fill the local record of these tests, which users are kept from."""
    monkeypatch.setattr(ray_executor, "database_file", lambda _: None)


def run(nodes: Nodes, specs: list[Any], record: Record, observer: Any = None, **options: Any) -> Outcome:
    chosen = {"device": "cpu", "entry": "fake_runs:train", "address": nodes.address} | options
    return executor("ray").execute(TrainingPlan(specs, **chosen), record, observer or Silent())


def meanwhile(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def test_it_is_one_of_the_executors() -> None:
    assert {"local", "ray"} <= set(executor_names())


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("cpu=2", {"cpu": 2}),
        ("cpu=0.5, gpu=0.25", {"cpu": 0.5, "gpu": 0.25}),
        ("gpu=1", {"gpu": 1}),
        ("gpu=0", {"gpu": 0}),
    ],
)
def test_resources_are_read(text: str, parsed: dict[str, float]) -> None:
    assert parse_resources(text) == parsed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("memory=3", "'memory' is unknown; cpu and gpu"),
        ("", "'' is unknown"),
        ("cpu", "number of cores above 0"),
        ("cpu=0", "number of cores above 0"),
        ("cpu=-1", "number of cores above 0"),
        ("cpu=inf", "number of cores above 0"),
        ("cpu=nan", "number of cores above 0"),
        ("cpu=1,cpu=2", "given twice"),
        ("gpu=2", "a share of one GPU"),
        ("gpu=0.00001", "a share of one GPU"),
    ],
)
def test_resources_that_make_no_sense_are_refused(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_resources(text)


@pytest.mark.parametrize(
    ("device", "resources", "sharing", "gpus", "expected"),
    [
        ("auto", None, None, 0, Share(1, 0)),
        ("auto", None, None, 4, Share(1, 1)),
        ("cpu", {"cpu": 2.0}, None, 4, Share(2, 0)),
        ("cuda", None, None, 0, Share(1, 1)),
        ("auto", None, 3, 1, Share(1, 0.3333)),
        ("auto", {"gpu": 0.0}, None, 4, Share(1, 0)),
    ],
)
def test_what_one_run_takes(
    device: str, resources: dict[str, float] | None, sharing: int | None, gpus: int, expected: Share
) -> None:
    assert share_of(device, resources, sharing).on({"a": Node("a", 8, gpus)}) == expected


@pytest.mark.parametrize(
    ("share", "node", "slots"),
    [
        (Share(1, 0), Node("a", 8, 0), 8),
        (Share(3, 0), Node("a", 8, 0), 2),
        (Share(1, 0.3333), Node("a", 32, 2), 6),
        (Share(1, 0.3333), Node("a", 4, 2), 4),
        (Share(1, 0.4), Node("a", 64, 3), 6),
        (Share(1, 1), Node("a", 8, 0), 0),
        (Share(1, 0), Node("head", 0, 0), 0),
    ],
)
def test_how_many_runs_a_node_has_room_for(share: Share, node: Node, slots: int) -> None:
    assert share.slots(node) == slots


@pytest.mark.parametrize(
    ("device", "resources", "sharing", "says"),
    [
        ("cuda:1", None, None, "Ray deals out GPUs"),
        ("mps", None, None, "Ray deals out GPUs"),
        ("cpu", {"gpu": 0.5}, None, "contradicts"),
        ("cuda", {"gpu": 0.0}, None, "contradicts"),
        ("auto", {"gpu": 0.5}, 2, "say the same"),
        ("cpu", None, 2, "uses no GPU"),
    ],
)
def test_choices_that_contradict_are_refused(
    device: str, resources: dict[str, float] | None, sharing: int | None, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        share_of(device, resources, sharing)


SMALL = ["run", "--methods", "joint", "--dataset", "synthetic", "--seeds", "1"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--resources", "cpu=1"], "--resources says how a cluster is used. Add --executor ray"),
        (["--ray-address", "auto"], "--ray-address says how a cluster is used"),
        (["--executor", "ray", "--resources", "tpu=1"], "'tpu' is unknown"),
        (["--executor", "ray", "--device", "cuda:0"], "Ray deals out GPUs"),
        (["--executor", "ray", "--ray-address", "ray://host:10001"], "start the command on a machine of the cluster"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], says: str
) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    monkeypatch.setattr(ray_executor, "find_spec", lambda _: True)
    done = CliRunner().invoke(app, [*SMALL, *options])
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())


def test_where_ray_is_missing_the_package_is_named(
    fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'mcr-bench\[ray\]'"):
        executor("ray").execute(TrainingPlan([fake.Spec("nowhere", trace)]), record, Silent())


def test_a_record_in_a_local_file_is_for_one_node(record: Record) -> None:
    two = Room({"a": Node("a", 1), "b": Node("b", 0)}, Share(1, 0))
    with pytest.raises(UserError, match=r"mcr-bench server.*--tracking-uri http"):
        ray_executor.require_server(two, record)
    ray_executor.require_server(Room({"a": Node("a", 1)}, Share(1, 0)), record)


def test_a_cluster_without_room_is_told_with_its_nodes() -> None:
    with pytest.raises(UserError, match=r"no room|has room for a run of cpu=16.*big: cpu=8, gpu=0"):
        ray_executor.require_room(Room({"a": Node("big", 8)}, Share(16, 0)))


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_runs_are_trained_in_order_recorded_and_leave_no_litter(
    fake: ModuleType, record: Record, trace: Path, nodes: Nodes
) -> None:
    first, second = fake.Spec("first", trace), fake.Spec("second", trace)
    both = fake.Spec("both", trace, dependencies=(first, second))
    outcome = run(nodes, [both, first, second], record)
    assert (sorted(labels(outcome.finished)[:2]), labels(outcome.finished)[2:]) == (["first", "second"], ["both"])
    assert [epochs(record, spec) for spec in (first, second, both)] == [[1, 2, 3]] * 3
    assert row(record, both).status == "finished"
    assert list(record.home.glob("work/*")) == list(record.home.glob("locks/*")) == []
    assert list(record.home.glob(".seen*")) == []
    assert (record.home / "weights" / f"{first.key}.pt").read_text() == "weights"


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_failures_are_told_as_the_local_executor_tells_them(
    fake: ModuleType, record: Record, trace: Path, nodes: Nodes
) -> None:
    watch, bad = Watch(), fake.Spec("bad", trace, "raise")
    specs = [bad, fake.Spec("needs bad", trace, dependencies=(bad,)), fake.Spec("dies", trace, "die")]
    specs += [fake.Spec("dies once", trace, "die once"), fake.Spec("good", trace), fake.Spec("mute", trace, "silent")]
    outcome = run(nodes, specs, record, watch)
    reasons = {failure.spec.label: failure.reason for failure in outcome.failed}
    assert sorted(labels(outcome.finished)) == ["dies once", "good"]
    assert reasons["bad"] == "ValueError: bad luck"
    assert reasons["needs bad"] == "needs bad, which failed"
    assert "without saying" in reasons["mute"]
    assert reasons["dies"].startswith("its worker process was ended by SIGKILL")
    assert "2 times" in reasons["dies"]
    assert len(watch.told) == 2
    assert all("it starts again from its last checkpoint" in told for told in watch.told)
    log = next(failure.log for failure in outcome.failed if failure.spec is bad).read_text()
    assert "on the way" in log


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_a_run_that_takes_too_long_is_ended(fake: ModuleType, record: Record, trace: Path, nodes: Nodes) -> None:
    late, good = fake.Spec("late", trace, "hang once"), fake.Spec("in time", trace)
    outcome = run(nodes, [late, good], record, timeout=30)  # to start a worker takes seconds
    assert labels(outcome.finished) == ["in time"]
    assert [failure.reason.partition(" --timeout")[0] for failure in outcome.failed] == ["it took longer than"]
    wait_for(lambda: gone(int(next(line.split()[-1] for line in trace.read_text().splitlines() if "late" in line))))


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_no_more_runs_than_asked_for_are_at_work(fake: ModuleType, record: Record, trace: Path, nodes: Nodes) -> None:
    specs = [fake.Spec(f"one by one {i}", trace) for i in range(3)]
    assert run(nodes, specs, record, jobs=1).finished == specs
    lines = trace.read_text().splitlines()
    assert [line.endswith("end") for line in lines] == [False, True] * 3
    assert len({line.split()[-1] for line in lines if not line.endswith("end")}) == 3  # a process for each


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_a_run_of_a_lost_node_goes_on_at_another_from_its_checkpoint(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    with ray_nodes() as nodes:
        doomed, spec, watch = nodes.add(), fake.Spec("moved", trace, "hang once"), Watch()

        def strike() -> None:
            wait_for((record.home / "work" / spec.key / "hung").exists)
            nodes.add()
            nodes.kill(doomed)

        thread = meanwhile(strike)
        assert run(nodes, [spec], record, watch).finished == [spec]
        thread.join()
    (told,) = watch.told
    assert told.startswith("its node was lost (")
    assert told.endswith("it starts again from its last checkpoint")
    assert epochs(record, spec) == [1, 2, 3]
    assert [line.split()[-2] for line in trace.read_text().splitlines() if "end" not in line] == ["0", "1"]


@pytest.mark.slow
@pytest.mark.usefixtures("many")
def test_a_node_without_the_home_folder_sends_everything_home(fake: ModuleType, record: Record, trace: Path) -> None:
    with ray_nodes() as nodes:
        doomed, watch = nodes.add_blind(record.home), Watch()
        first = fake.Spec("far away", trace, "hang far away")
        second = fake.Spec("from far away", trace, dependencies=(first,))
        bad = fake.Spec("fails far away", trace, "raise")

        def strike() -> None:
            wait_for(lambda: "hangs" in trace.read_text())
            nodes.add_blind(record.home)
            nodes.kill(doomed)

        thread = meanwhile(strike)
        outcome = run(nodes, [first, second, bad], record, watch)
        thread.join()
    assert labels(outcome.finished) == ["far away", "from far away"]
    assert watch.told == [told for told in watch.told if "from its start, as that node does not see" in told]
    assert len(watch.told) == 1
    assert (record.home / "weights" / f"{first.key}.pt").read_text() == "weights"
    assert "on the way" in outcome.failed[0].log.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("sent", "said"), [(signal.SIGINT, "interrupted\n"), (signal.SIGKILL, "")])
def test_a_stopped_command_leaves_no_training_and_is_resumed(
    fake: ModuleType,
    record: Record,
    trace: Path,
    nodes: Nodes,
    own: bool,
    sent: signal.Signals,
    said: str,
) -> None:
    spec, folder = fake.Spec("stopped", trace, "hang once"), Path(str(fake.__file__)).parent
    (folder / "ray_command.py").write_text(COMMAND)
    arguments = [
        str(folder / "ray_command.py"),
        str(folder),
        str(record.home),
        str(trace),
        "" if own else nodes.address,
    ]
    command = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    wait_for((record.home / "work" / spec.key / "hung").exists)
    worker = int(trace.read_text().split()[-1])
    began = time.monotonic()
    os.kill(command.pid, sent)
    assert command.communicate(timeout=600)[0] == said
    wait_for(lambda: gone(worker))
    assert time.monotonic() - began < 20  # 2 s where nothing else is at work
    before = row(record, spec)
    assert run(nodes, [spec], record).finished == [spec]
    assert (row(record, spec).run_id, epochs(record, spec)) == (before.run_id, [1, 2, 3])
    assert ends(trace) == ["stopped"]


@pytest.mark.slow
def test_an_address_without_a_cluster_is_told(fake: ModuleType, record: Record, trace: Path) -> None:
    require_ray()
    plan = TrainingPlan([fake.Spec("nowhere", trace)], entry="fake_runs:train", address="127.0.0.1:9")
    with pytest.raises(UserError, match=r"no Ray cluster at '127\.0\.0\.1:9'"):
        executor("ray").execute(plan, record, Silent())
