"""A command whose streams are closed, or cannot write every character, and one to which the system refuses a file."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcr_bench.bench.commands import moving
from mcr_bench.bench.core.faults import streams
from mcr_bench.tests.support.records.homes import call

OPENED = f"""
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("streams", {streams.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.open_streams()
"""


def run(closed: str, code: str, before: str = "", **variables: str) -> "subprocess.CompletedProcess[bytes]":
    shell = f'exec "$0" -c "$1" {closed}'
    program = before + OPENED + code
    return subprocess.run(["sh", "-c", shell, sys.executable, program], capture_output=True, env=variables)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_file_never_gets_the_number_of_a_closed_stream(closed: str) -> None:
    code = """
number = os.open(os.devnull, os.O_RDONLY)
print("text"); print("text", file=sys.stderr); os.system("echo from a child")
if sys.stdin.isatty() or sys.stdout.isatty(): sys.exit(5)
sys.exit(number < 3)
"""
    told = run(closed, code)
    assert told.returncode == 0, told.stderr


def test_a_question_to_a_closed_stdin_has_no_answer() -> None:
    assert run("<&-", "sys.exit(sys.stdin.read() != '')").returncode == 0


def test_a_file_that_got_the_number_of_a_closed_stream_gets_no_text(tmp_path: Path) -> None:
    file = tmp_path / "database"
    before = f"import os; assert os.open({str(file)!r}, os.O_RDWR | os.O_CREAT) == 1\n"
    done = run(">&-", "print('text')", before)
    assert (done.returncode, file.read_bytes()) == (0, b""), done.stderr


@pytest.mark.parametrize("handler", ["strict", "surrogateescape"])
def test_what_an_encoding_does_not_have_is_a_question_mark(handler: str) -> None:
    code = "print('a · b'); print('a · b', file=sys.stderr)"
    told = run("", code, PYTHONIOENCODING=f"ascii:{handler}", PYTHONUTF8="0")
    assert (told.returncode, told.stdout) == (0, b"a ? b\n")


PYTHON = """
import os, sys
import mcr_bench

if __name__ == "__main__":
    {}
    done = mcr_bench.run("joint", "synthetic", seeds=1, settings={{"epochs": 1, "dataset.train": 40}}, jobs=1)
    os._exit(0 if len(done.runs()) == 1 and not done.failed else 7)
"""


@pytest.mark.parametrize(
    "closing",
    ["sys.stdout = sys.stderr = None", "sys.stdout.close(); sys.stderr.close()", "os.close(1); os.close(2)"],
)
def test_from_python_runs_are_trained_where_streams_are_closed(tmp_path: Path, closing: str) -> None:
    """As in a service without a terminal: progress has nowhere to go, which is no reason to train nothing."""
    home = {"MCR_BENCH_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    file = tmp_path / "script.py"
    file.write_text(PYTHON.format(closing))
    done = subprocess.run([sys.executable, str(file)], capture_output=True, env=os.environ | home)
    assert done.returncode == 0, done.stderr


REFUSED = {
    errno.EACCES: "error: '/some/file' cannot be used: Permission denied. Give another place",
    errno.ENAMETOOLONG: "error: '/some/file': this name is longer than the file system takes. Shorten it.",
    errno.EEXIST: "error: '/some/file' cannot be used: File exists. This name is needed for something else: rename",
    errno.EISDIR: "error: '/some/file' cannot be used: Is a directory. This name is needed for something else: rename",
    errno.ENOTDIR: "error: '/some/file' cannot be used: Not a directory. This name is needed for something else",
}
NAMELESS = {  # as who locks a file, or reads one that is open, gets them
    errno.ENOLCK: "error: a file cannot be used: No locks available. Its file system cannot lock files: put",
    errno.EIO: "error: a file cannot be used: Input/output error. See whether its disk is connected and sound",
}


@pytest.mark.parametrize("number", REFUSED)
def test_a_file_that_the_system_refuses_ends_a_command_with_a_sentence(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(moving, "export", refuse)
    told = call("export", "runs.zip", code=2)
    assert not told.stdout
    assert told.stderr.startswith(REFUSED[number])


@pytest.mark.parametrize("number", NAMELESS)
def test_a_refusal_that_names_no_file_ends_a_command_with_a_sentence(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(moving, "export", refuse)
    told = call("export", "runs.zip", code=1)
    assert told.stderr.startswith(NAMELESS[number])
