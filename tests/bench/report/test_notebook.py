"""In a notebook facts are not on stderr, progress is one text that is replaced, and an error is its message."""

import sys
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.commands.output import say
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.report.progress import InCell, observer
from mcr_bench.bench.runs.events import EpochDone

Shown = list[tuple[str, dict[str, str]]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What a kernel displays: ("new" or "again", the content)."""
    seen: Shown = []

    def display(content: dict[str, str], **_: object) -> SimpleNamespace:
        seen.append(("new", content))
        return SimpleNamespace(update=lambda content, **_: seen.append(("again", content)))

    for name, members in (
        ("IPython", {"get_ipython": lambda: SimpleNamespace(kernel=1)}),
        ("IPython.display", {"display": display}),
    ):
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


def test_progress_is_one_text(shown: Shown) -> None:
    spec: Any = SimpleNamespace(key="k", label="<joint>", seed=0, dataset="mine", fold=1, metric="accuracy")
    with observer(SafeConsole(stderr=True)) as watching:
        assert isinstance(watching, InCell)
        watching.on_plan(3, 1)
        watching.on_start(spec)
        watching.shown = -1.0  # long ago
        watching.on_epoch(spec, EpochDone("k", 1, 2, {"val/accuracy": 0.5}, 0.0))
        assert shown[-1][1]["text/plain"].splitlines() == [
            "3 runs, 1 finished before, 2 to train",
            "<joint> · seed 0 · epoch 1/2 · val accuracy 0.5000 · mine fold 1",
        ]
        watching.on_end(spec, "failed")
        watching.on_start(spec)
        watching.on_end(spec, "finished")
    assert [kind for kind, _ in shown] == ["new", *["again"] * (len(shown) - 1)]
    failed, last = shown[-1][1]["text/plain"].splitlines()
    assert failed == "failed: <joint> · seed 0 · mine fold 1"
    assert last.startswith("3 runs, 1 finished before, the others ended in")
    assert "&lt;joint&gt;" in shown[-1][1]["text/html"]


def test_progress_that_is_stopped_shows_no_run_in_training(shown: Shown) -> None:
    spec: Any = SimpleNamespace(key="k", label="joint", seed=0, dataset="mine", fold=1, metric="accuracy")
    with suppress(KeyboardInterrupt), observer(SafeConsole(stderr=True)) as watching:
        watching.on_plan(1, 0)
        watching.on_start(spec)
        raise KeyboardInterrupt
    assert shown[-1][1]["text/plain"] == "stopped"


@pytest.mark.usefixtures("shown")
def test_facts_are_not_red(capsys: pytest.CaptureFixture[str]) -> None:
    say("a fact", err=True)
    assert capsys.readouterr() == ("a fact\n", "")


def test_elsewhere_facts_are_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("a fact", err=True)
    assert capsys.readouterr() == ("", "a fact\n")


def test_an_error_shows_its_message_alone() -> None:
    assert UserError("unknown method 'x\x1b'.")._render_traceback_() == ["UserError: unknown method 'x\\u001b'."]
