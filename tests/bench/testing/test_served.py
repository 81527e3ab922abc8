"""Checks in workers: what hangs or dies is told with its property, the rest goes on, and nobody is left at the end."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.testing import served
from mcr_bench.bench.testing.card import Checked
from mcr_bench.bench.testing.card_text import card_text
from mcr_bench.bench.testing.served import checked_apart
from mcr_bench.cli import app

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file descriptors are passed on")

# A worker that imports nothing: it serves the properties a, b, c and d, and does in each what `how` says.
WORKER = """
import os, sys, time
from multiprocessing.connection import Connection
from mcr_bench.bench.testing.card import Outcome
from mcr_bench.bench.testing.served import Begun, Contents, Ended, Wrong
pipe = Connection(int(sys.argv[1]))
asked = pipe.recv()
how = {how!r}
def reach(name):
    pipe.send(Begun(name))
    exec(how.get(name, ""))
reach("import")
pipe.send(Contents("mine", "method", tuple((name, f"it does {{name}}", "do it") for name in ("import", *"abcd"))))
pipe.send(Outcome("import", "passed", "", 0.0))
for name in "abcd":
    if name not in asked.done:
        reach(name)
        pipe.send(Outcome(name, "passed", "", 0.0))
pipe.send(Ended((("pid", str(os.getpid())),)))
"""
HANGS = "time.sleep(600)"


def card(limit: float = 30.0, **how: str) -> Checked:
    how = {name.rstrip("_"): code for name, code in how.items()}
    return checked_apart("./mine.py", limit, WORKER.format(how=how))


def states(one: Checked) -> dict[str, str]:
    return {outcome.property: outcome.state for outcome in one.outcomes}


def test_a_card_of_what_holds() -> None:
    one = card()
    assert states(one) == dict.fromkeys(["import", *"abcd"], "passed")
    assert (one.subject, one.kind, one.holds) == ("mine", "method", True)
    assert one.notes[0][0] == "pid"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os._exit(3)", "it ends the process with exit code 3"),
        ("os._exit(0)", "it ends the process with exit code 0"),
        ("os.kill(os.getpid(), 11)", "it ends the process by SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "it ends the process by SIGKILL, perhaps as memory ran out"),
    ],
)
def test_a_crash_is_told_with_its_property_and_the_rest_is_checked(code: str, reason: str) -> None:
    one = card(c=code)
    assert states(one) == {"import": "passed", "a": "passed", "b": "passed", "c": "failed", "d": "passed"}
    assert one.outcomes[3].reason == reason
    assert one.outcomes[3].promise == "it does c"
    assert one.notes


def test_a_hang_is_told_with_its_property() -> None:
    one = card(2.0, b=HANGS)
    assert states(one)["b"] == "failed"
    assert one.outcomes[2].reason == "it does not end within 2 seconds"
    assert states(one)["d"] == "passed"


def test_after_two_of_them_the_rest_is_not_checked() -> None:
    one = card(b="os._exit(1)", c="os._exit(2)")
    assert states(one) == {"import": "passed", "a": "passed", "b": "failed", "c": "failed", "d": "not applicable"}
    assert one.outcomes[4].reason == "not checked, as c broke down"


def test_what_all_else_is_made_of_is_tried_once() -> None:
    one = card(a="os._exit(5)")
    assert states(one).pop("a") == "failed"
    assert list(states(one).values()).count("failed") == 1
    assert "exit code 5" in card_text(one)
    assert "os._exit" in card_text(one)  # the hint is that of a process that ends, not that of the property


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os._exit(5)", "'./mine.py' cannot be imported: it ends the process with exit code 5. Look for os._exit"),
        ("os.abort()", "'./mine.py' cannot be imported: it ends the process by SIGABRT. Look for"),
        (HANGS, "'./mine.py' cannot be imported: it does not end within 2 seconds. Look for a loop"),
    ],
)
def test_an_import_that_dies_or_hangs_is_a_user_error(code: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        card(2.0, import_=code)
    assert str(error.value).startswith(told)


def test_a_target_that_cannot_be_checked_is_a_user_error() -> None:
    with pytest.raises(UserError, match="no such class"):
        card(import_="pipe.send(Wrong('no such class'))")


def test_ctrl_c_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pid"

    def struck(_workers: object, _timeout: float) -> object:
        while not file.is_file() or not file.read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(served, "ready", struck)
    with pytest.raises(KeyboardInterrupt):
        card(a=f"open({str(file)!r}, 'w').write(str(os.getpid())); {HANGS}")
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


METHOD = '''"""A method that ends its process for one sample."""
import os
from dataclasses import dataclass
from typing import ClassVar

from mcr_bench.methods.base import Method, Reference

print("noise on stdout")


@dataclass
class Mine(Method):
    """L = CE(z, y)."""

    name: ClassVar[str] = "mine"
    reference: ClassVar[Reference] = Reference("a test", "none")
    without_neutral: ClassVar[str] = "no settings"

    def loss(self, outputs, batch):
        if len(batch.target) == 1:
            os._exit(7)
        return {name: 0.5 * term for name, term in super().loss(outputs, batch).items()}
'''


def test_the_verb_checks_a_strangers_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "mine.py"), "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    failed = {one["name"]: one["reason"] for one in told["properties"] if one["state"] == "failed"}
    assert failed == {"batch-of-one": "it ends the process with exit code 7"}
    assert (told["subject"], told["kind"], told["holds"]) == ("mine", "method", False)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nothing-of-the-kind", "unknown method, dataset, encoder or fusion head"),
        ("mine.npz", "'mine.npz' holds no code"),
        ("no_such_package.at_all:Mine", "'no_such_package.at_all' cannot be imported"),
        ("ends_at_import:Mine", "'ends_at_import' cannot be imported: SystemExit: 3"),
        ("mcr_bench.methods.base:Needs", "is not a method, dataset, encoder or fusion head"),
        ("mcr_bench.methods.base:Nedes", "unknown class 'Nedes'. Did you mean Needs"),
    ],
)
def test_wrong_usage(target: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mcr_bench.bench.catalog.kind_of_file import kind_of_target

    (tmp_path / "ends_at_import.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "mine.npz").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=told.replace("(", r"\(").replace("?", r"\?")):
        kind_of_target(target)
