"""An executor of a third party: the example of docs/executors.md, installed with an entry point as a package is."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

import mcr_bench
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.chosen import carry_out, executor, executor_names
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Outcome, RunDone, Silent
from mcr_bench.cli import app
from mcr_bench.tests.bench.executors.test_executor_processes import gone, wait_for
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import ends, epochs, labels, row

fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures
EXAMPLE = Path(mcr_bench.__file__).parent / "docs/executors.md"
BAD = "class Stateful:\n    def __init__(self, size):\n        pass\n\n\nclass Nothing:\n    pass\n"
COMMAND = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from fake_runs import Spec
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.chosen import executor
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Silent
if __name__ == "__main__":
    plan = TrainingPlan([Spec("stopped", Path(sys.argv[4]), "hang once")], entry="fake_runs:train")
    try:
        executor("sequential").execute(plan, Record(home=Path(sys.argv[3])), Silent())
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of installed packages that holds the example and three broken executors."""
    folder = tmp_path_factory.mktemp("site-packages")
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "my_executors.py").write_text(code)
    (folder / "bad_executors.py").write_text(BAD)
    entries = {
        "sequential": "my_executors:Sequential",
        "stateful": "bad_executors:Stateful",
        "nothing": "bad_executors:Nothing",
        "gone": "no_such_module:Any",
    }
    information = folder / "my_executors-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-executors\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (information / "entry_points.txt").write_text("\n".join(["[mcr_bench.executors]", *lines]))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        yield folder


def run(specs: list[Any], record: Record, chosen: Any = None, **options: Any) -> Outcome:
    plan = TrainingPlan(specs, entry="fake_runs:train", **options)
    return carry_out(chosen or executor("sequential"), plan, record, Silent())


def test_it_is_found_by_its_name() -> None:
    assert {"local", "sequential"} <= set(executor_names())
    assert type(executor("sequential")).__module__ == "my_executors"
    assert type(executor("local")).__name__ == "LocalExecutor"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sequental", r"unknown executor 'sequental'\. Did you mean sequential\? Known: .*local.*sequential"),
        ("slurm", r"unknown executor 'slurm'\. Known: .*local, nothing, ray, sequential"),
        ("gone", r"executor 'gone' \(entry point no_such_module:Any\) cannot be loaded: ModuleNotFoundError"),
        ("stateful", r"executor 'stateful' .*cannot be loaded: TypeError: .*'size'\. Update or remove its package"),
        ("nothing", r"executor 'nothing' .* has no method execute\(plan, record, observer\)"),
    ],
)
def test_what_cannot_be_chosen_is_told(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        executor(name)


def test_a_run_that_a_server_refuses_names_no_file_that_is_removed(
    fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = fake.Spec("refused", trace)
    monkeypatch.setattr(record, "settle", lambda: {spec.key: "a name is too long"})
    outcome = run([spec], record)
    (failure,) = outcome.failed
    assert (outcome.finished, failure.log) == ([], None)
    assert failure.told == "trained, but the tracking server does not take it: a name is too long"


def test_it_trains_in_the_order_of_dependencies(fake: ModuleType, record: Record, trace: Path) -> None:
    first = fake.Spec("first", trace)
    second = fake.Spec("second", trace, dependencies=(first,))
    third = fake.Spec("third", trace, dependencies=(second, first))
    outcome = run([third, second, first], record)
    assert labels(outcome.finished) == ["first", "second", "third"]
    assert ends(trace) == ["first", "second", "third"]
    assert [row(record, spec).status for spec in (first, second, third)] == ["finished"] * 3
    assert epochs(record, third) == [1, 2, 3]
    assert list(record.home.glob("locks/*")) == []
    assert list(record.home.glob("work/*")) == []


def test_a_failure_takes_its_dependents_and_leaves_the_others(fake: ModuleType, record: Record, trace: Path) -> None:
    bad, dies = fake.Spec("bad", trace, "raise"), fake.Spec("dies", trace, "die")
    specs = [bad, fake.Spec("needs bad", trace, dependencies=(bad,)), dies, fake.Spec("good", trace)]
    outcome = run(specs, record)
    assert labels(outcome.finished) == ["good"]
    assert {failure.spec.label: failure.reason for failure in outcome.failed} == {
        "bad": "ValueError: bad luck",
        "needs bad": "needs bad, which failed",
        "dies": "its process ended with exit code -9",
    }
    assert {row(record, spec).status for spec in (bad, dies)} == {"failed"}
    assert "on the way" in outcome.failed[0].log.read_text()


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, "killed"), (signal.SIGKILL, "running")])
def test_what_was_stopped_goes_on(
    fake: ModuleType, record: Record, trace: Path, package: Path, sent: signal.Signals, status: str
) -> None:
    spec, folder = fake.Spec("stopped", trace, "hang once"), Path(str(fake.__file__)).parent
    (package / "command.py").write_text(COMMAND)
    arguments = [str(package / "command.py"), str(package), str(folder), str(record.home), str(trace)]
    command = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    wait_for((record.home / "work" / spec.key / "hung").exists)
    process = int(trace.read_text().split()[-1])
    os.kill(command.pid, sent)
    if sent == signal.SIGKILL:  # `spawn` ties no child to its parent: it would sleep on
        os.kill(process, signal.SIGKILL)
    assert command.communicate(timeout=600)[0] == ("interrupted\n" if sent == signal.SIGINT else "")
    wait_for(lambda: gone(process))
    before = row(record, spec)
    assert before.status == status
    assert labels(run([spec], record).finished) == ["stopped"]
    assert (row(record, spec).run_id, epochs(record, spec)) == (before.run_id, [1, 2, 3])
    assert [line.split()[-2] for line in trace.read_text().splitlines() if "end" not in line] == ["0", "1"]


def test_a_finished_run_is_not_trained_again(fake: ModuleType, record: Record, trace: Path) -> None:
    spec = fake.Spec("once", trace)
    for force, times in ((False, 1), (False, 1), (True, 2)):
        assert labels(run([spec], record, force=lambda _, force=force: force).finished) == ["once"]
        assert len(ends(trace)) == times


def test_what_another_command_has_finished_is_trained_again_only_if_it_is_asked_for(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    """A dependency that two commands found unfinished, of which one is forced to train what starts from it."""
    first, second = fake.Spec("first", trace), fake.Spec("second", trace)
    assert labels(run([first, second], record).finished) == ["first", "second"]
    plan = TrainingPlan([first, second], jobs=1, device="cpu", entry="fake_runs:train", force=lambda one: one is second)
    assert labels(LocalExecutor().execute(plan, record, Silent()).finished) == ["first", "second"]
    assert [line.split()[0] for line in ends(trace)] == ["first", "second", "second"]


class Lazy:
    """Ends after the first job, in one of several wrong ways."""

    def __init__(self, how: str) -> None:
        self.how = how

    def execute(self, plan: TrainingPlan, record: Record, observer: Any) -> Any:
        with Jobs(plan, record, observer) as jobs:
            assert jobs.go_on()
            job = jobs.next("cpu")
            assert job is not None
            job.folder.mkdir(parents=True)
            job.predictions.write_text("predictions")
            if self.how == "raises":
                raise ZeroDivisionError
            if self.how == "stops after one":
                jobs.take(job, RunDone(job.spec.key, {}, 1.0))
                jobs.take(job, RunDone(job.spec.key, {}, 1.0))
                jobs.fail(job, "too late to matter")
        return None if self.how == "says nothing" else jobs.outcome


@pytest.mark.parametrize(("how", "trained"), [("stops after one", 1), ("stops in the first", 0)])
def test_what_an_executor_leaves_out_is_told(
    fake: ModuleType, record: Record, trace: Path, how: str, trained: int
) -> None:
    specs = [fake.Spec(f"{how} {i}", trace) for i in range(3)]
    outcome = run(specs, record, Lazy(how))
    assert outcome.finished == specs[:trained]
    assert [failure.spec for failure in outcome.failed] == specs[trained:]
    assert {failure.reason for failure in outcome.failed} == {"the executor ended without training it"}
    assert labels(run(specs[trained:], record).finished) == labels(specs[trained:])


@pytest.mark.parametrize(("how", "error"), [("raises", ZeroDivisionError), ("says nothing", UserError)])
def test_an_executor_that_breaks_leaves_work_to_go_on_with(
    fake: ModuleType, record: Record, trace: Path, how: str, error: type[Exception]
) -> None:
    spec = fake.Spec(f"breaks: {how}", trace)
    with pytest.raises(error):
        run([spec], record, Lazy(how))
    assert row(record, spec).status == "killed"
    assert labels(run([spec], record).finished) == labels([spec])


SMALL = ["--methods", "joint", "--dataset", "synthetic", "--seeds", "1", "--set", "epochs=1"]
SMALL += ["--set", "dataset.train=60", "--set", "dataset.test=30", "--jobs", "1", "--json"]


def test_the_command_line_trains_by_it_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told = [
        json.loads(CliRunner().invoke(app, ["run", *SMALL, "--force", "--executor", name]).stdout)["runs"]
        for name in ("sequential", "local")
    ]
    (theirs,), (ours,) = told
    assert (theirs["status"], theirs["value"]) == ("finished", ours["value"])
    assert theirs["run_id"] != ours["run_id"]


@pytest.mark.parametrize("verb", [["run", "--plan"], ["run"], ["tune"]])
def test_the_command_line_names_the_executors_that_there_are(verb: list[str]) -> None:
    done = CliRunner().invoke(app, [*verb, "--methods", "joint", "--dataset", "synthetic", "--executor", "slurm"])
    assert done.exit_code == 2
    assert "unknown executor 'slurm'" in done.stderr
    assert re.search("local.*sequential", done.stderr, re.DOTALL)
