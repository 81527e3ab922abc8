"""A user's script that trains and has no `if __name__ == "__main__"`."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mcr_bench.bench.core.workers import processes
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs import pretended_training

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    'a script without `if __name__ == "__main__"` starts a training: as a file, through a link, as a module, as a '
    "package, from stdin, with -c, with the call in a function, in a thread, after chdir, with wrong guards",
    "it trains: workers start without the script, which is run once",
)
fake = pretended_training.fake  # a fixture
BODY = """
import sys
from pathlib import Path
sys.path.insert(0, {modules!r})
with Path({trace!r}).open("a") as file:
    file.write("script\\n")
from fake_runs import Spec
from mcr_bench.bench.executors.local import execute
from mcr_bench.bench.record.tracking import Record
def train():
    specs = [Spec(name, Path({trace!r})) for name in ("one", "two")]
    outcome = execute(specs, Record(home=Path({home!r})), jobs=2, device="cpu", entry="fake_runs:train")
    print("finished", len(outcome.finished), *(failure.reason for failure in outcome.failed))
"""
CALLS = {
    "plainly": "train()",
    "in a class": "class Main:\n    train()",
    "in a thread": "import threading\nthread = threading.Thread(target=train)\nthread.start()\nthread.join()",
    "while importing itself": "if 'again' not in sys.argv:\n    sys.argv.append('again')\n    train()",
    "with a wrong guard": "if __name__ != 'main':\n    train()",
    "with the guard of a worker": "if __name__ in ('__main__', '__mp_main__'):\n    train()",
    "after a change of folder": "import os\nos.chdir('/')\ntrain()",
    "and catches all errors": "try:\n    train()\nexcept BaseException as error:\n    print('caught', error)",
    "with a guard": "if __name__ == '__main__':\n    train()",
}
WAYS = ["file", "link", "module", "package", "stdin", "code"]


@pytest.mark.parametrize("call", [pytest.param(c, marks=[] if c == "plainly" else pytest.mark.slow) for c in CALLS])
def test_a_script_trains_however_it_calls(fake: ModuleType, tmp_path: Path, call: str) -> None:
    _passes(_run(fake, tmp_path, CALLS[call], "file"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS[1:])
def test_a_script_trains_however_it_is_started(fake: ModuleType, tmp_path: Path, way: str) -> None:
    _passes(_run(fake, tmp_path, CALLS["plainly"], way), tmp_path)


@pytest.mark.slow
def test_a_script_that_is_gone_when_workers_start_trains(fake: ModuleType, tmp_path: Path) -> None:
    _passes(_run(fake, tmp_path, "import os\nos.unlink(__file__)\ntrain()", "file"), tmp_path)


@pytest.mark.unprotected
def test_workers_start_with_the_script(fake: ModuleType, tmp_path: Path) -> None:
    """Where workers import the script, as multiprocessing has it, none can start."""
    before = (
        f"from contextlib import nullcontext\nimport {processes.__name__} as p\np._without_main_script = nullcontext\n"
    )
    done = _run(fake, tmp_path, before + CALLS["plainly"], "file")
    assert "finished 2" not in done.stdout
    assert "bootstrapping phase" in done.stderr


def _passes(done: "subprocess.CompletedProcess[str]", folder: Path) -> None:
    assert done.stdout.strip() == "finished 2", done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (folder / "trace").read_text().splitlines().count("script") == 1


def _run(fake: ModuleType, folder: Path, call: str, way: str) -> "subprocess.CompletedProcess[str]":
    assert fake.__file__ is not None
    places = {"modules": str(Path(fake.__file__).parent), "trace": str(folder / "trace"), "home": str(folder / "home")}
    body = BODY.format(**places) + call
    script = folder / "script.py"
    script.write_text(body)
    if way == "link":
        script = folder / "link"
        script.symlink_to("script.py")
    if way == "package":
        (folder / "package").mkdir()
        script = script.rename(folder / "package" / "__main__.py")
    given = {"module": ["-m", "script"], "package": ["-m", "package"], "stdin": ["-"], "code": ["-c", body]}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.run(
        [sys.executable, *given.get(way, [str(script)])],
        input=body if way == "stdin" else "",
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
