"""Ctrl-C at awkward moments: held back, swallowed by a library, turned into another error, or not ours."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mcr_bench.bench.core.interrupts import check, deferred, interrupted, remembered
from mcr_bench.cli import app

RUN = ["run", "--methods", "joint", "--dataset", "synthetic", "--seeds", "1", "--set", "epochs=1", "--jobs", "1"]


@pytest.fixture(autouse=True)
def _heeded() -> Iterator[None]:
    """Python's own handler: a shell starts what runs in its background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler, "a handler was left behind"


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def swallowed() -> None:
    """As in a library's import that clears every exception."""
    with suppress(BaseException):
        ctrl_c()


def kept_until_the_end(strike: Callable[[], None]) -> bool:
    """Whether a block in which `strike` struck went on to its end and only then was interrupted."""
    done = False
    try:
        with deferred(), deferred():
            strike()
            done = True
    except KeyboardInterrupt:
        return done
    return False


def test_deferred_strikes_after_the_block() -> None:
    assert kept_until_the_end(ctrl_c)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_deferred_strikes_where_another_thread_takes_the_signal() -> None:
    def take() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        ctrl_c()

    def strike() -> None:
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

    assert kept_until_the_end(strike)


def test_deferred_lets_errors_pass_and_does_nothing_in_other_threads() -> None:
    with pytest.raises(ValueError, match="own"), deferred():
        raise ValueError("own")
    thread = threading.Thread(target=lambda: deferred().__enter__())
    thread.start()
    thread.join()


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with remembered(), deferred():
        os.kill(os.getpid(), signal.SIGINT)
    check()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_swallowed_ctrl_c_is_remembered_to_the_end_of_the_block() -> None:
    with remembered():
        check()
        swallowed()
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            check()
    assert not interrupted()


def after(act: Callable[[], None]) -> Callable[..., Any]:
    """A plan's making, and then `act`."""
    from mcr_bench.bench.planning.plan import make_plan_of

    def make(requests: Any) -> Any:
        plan = make_plan_of(requests)
        act()
        return plan

    return make


def test_a_swallowed_ctrl_c_stops_the_command_before_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr("mcr_bench.bench.planning.plan.make_plan_of", after(swallowed))
        stopped = CliRunner().invoke(app, RUN)
    assert stopped.exit_code == 130
    assert "the same command continues from here" in stopped.stderr
    again = CliRunner().invoke(app, RUN)
    assert again.exit_code == 0
    assert "1 run, 0 finished before, 1 to train" in again.stderr


def test_an_error_that_ctrl_c_has_caused_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_imported() -> None:
        swallowed()
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    monkeypatch.setattr("mcr_bench.bench.planning.plan.make_plan_of", after(half_imported))
    stopped = CliRunner().invoke(app, RUN)
    assert stopped.exit_code == 130
    assert "recursion" not in stopped.stderr


def test_other_errors_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RecursionError("of its own")

    monkeypatch.setattr("mcr_bench.bench.planning.plan.make_plan_of", after(fail))
    assert isinstance(CliRunner().invoke(app, RUN).exception, RecursionError)
