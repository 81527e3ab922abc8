"""The pool of worker processes: who is started when, what a death costs, and that nobody is left at the end."""

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from mcr_bench.bench.core.workers.pool import Died, Pool, Worker
from mcr_bench.bench.core.workers.processes import Script
from mcr_bench.bench.core.workers.serving import Begun

BEGIN = "import sys; from mcr_bench.bench.core.workers.serving import begin; begin(int(sys.argv[1]))"
PID = "__import__('os').getpid()"
Answer = object
Made = list[Worker[str, Answer]]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file descriptors are passed on")


def maker(made: Made, code: str = BEGIN, most: int | None = None) -> Callable[[], Worker[str, Answer]]:
    """Starts workers whose jobs are expressions that they evaluate, and keeps them in `made`."""

    def make() -> Worker[str, Answer]:
        worker: Worker[str, Answer] = Worker(Script(code), most=most)
        worker.pipe.send_bytes(pickle.dumps(eval))
        made.append(worker)
        return worker

    return make


def is_last(event: Answer) -> bool:
    return not isinstance(event, Begun)


def answers(jobs: Iterable[str], pool: Pool[str, Answer]) -> list[Answer]:
    """What comes of the jobs, in the order of their ends."""
    waiting, ended = list(jobs), list[Answer]()
    while waiting or pool.busy:
        while waiting and (worker := pool.free()):
            worker.give(waiting.pop(0))
        ended += [event for _, event in pool.events(0.5) if isinstance(event, Died) or is_last(event)]
    return ended


def done(jobs: Iterable[str], made: Made, workers: int = 1, **how: object) -> list[Answer]:
    with Pool([maker(made, **how)] * workers, is_last) as pool:  # type: ignore[arg-type]
        return answers(jobs, pool)


def gone(worker: Worker[str, Answer]) -> bool:
    return not worker.process.is_alive()


def test_jobs_share_as_many_workers_as_there_are_makers() -> None:
    made: Made = []
    pids = done([PID] * 6, made, workers=2)
    assert len(pids) == 6
    assert os.getpid() not in pids
    assert len(set(pids)) <= len(made) == 2
    assert all(gone(worker) for worker in made)


def test_a_worker_is_started_when_it_is_needed() -> None:
    made: Made = []
    with Pool([maker(made)] * 3, is_last) as pool:
        assert made == []
        assert answers(["6 * 7"], pool) == [42]
        assert answers(["2 + 3"], pool) == [5]
        assert len(made) == 1
        pool.start()
        assert len(made) == 3


@pytest.mark.parametrize(
    ("job", "code", "name", "memory"),
    [
        ("__import__('os')._exit(3)", 3, "", False),
        ("__import__('os').kill(__import__('os').getpid(), 9)", -9, "SIGKILL", True),
        ("__import__('os').kill(__import__('os').getpid(), 11)", -11, "SIGSEGV", False),
        ("[][0]", 1, "", False),
    ],
)
def test_a_job_that_ends_its_worker_has_two_and_the_others_go_on(job: str, code: int, name: str, memory: bool) -> None:
    made: Made = []
    died, *others = done([job, "1", "2"], made)
    assert isinstance(died, Died)
    assert (died.code, died.signal, died.out_of_memory, died.silent) == (code, name, memory, False)
    assert sorted(map(str, others)) == ["1", "2"]
    assert len(made) == 3


@pytest.mark.parametrize(("code", "name"), [(-15, "SIGTERM"), (-40, "signal 40"), (-99, "signal 99"), (40, "")])
def test_a_signal_without_a_name_is_told_by_its_number(code: int, name: str) -> None:
    assert Died(code, silent=False).signal == name


def test_a_job_whose_worker_dies_once_is_done_by_the_next(tmp_path: Path) -> None:
    file = tmp_path / "tried"
    job = f"'again' if __import__('os').path.exists({str(file)!r}) else (open({str(file)!r}, 'w'), [][0])"
    assert done([job, "1"], []) in (["again", 1], [1, "again"])


def test_a_worker_that_cannot_start_has_said_nothing() -> None:
    (died,) = done(["1"], [], code="import sys; sys.exit(7)")
    assert isinstance(died, Died)
    assert (died.code, died.silent) == (7, True)


def test_what_cannot_be_loaded_is_its_first_word() -> None:
    def make() -> Worker[str, Answer]:
        worker: Worker[str, Answer] = Worker(Script(BEGIN))
        worker.pipe.send_bytes(b"cno.such.module\nx\n.")
        return worker

    with Pool([make], lambda _: True) as pool:
        worker = pool.free()
        assert worker is not None
        worker.give("1")
        events = list(pool.events(60))
    assert events == [("1", Begun("ModuleNotFoundError: No module named 'no'"))]


def test_a_worker_for_one_job_is_followed_by_another() -> None:
    made: Made = []
    assert len(set(done([PID] * 3, made, most=1))) == 3
    assert len(made) == 3


def test_a_worker_that_dies_idle_costs_no_job() -> None:
    made: Made = []
    with Pool([maker(made)], is_last) as pool:
        assert answers(["1"], pool) == [1]
        made[0].process.kill()
        made[0].process.join()
        assert answers(["2"], pool) == [2]
        assert len(made) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_ends_the_block_ends_the_workers(error: type[BaseException]) -> None:
    made: Made = []

    def broken() -> None:
        with Pool([maker(made)] * 2, is_last) as pool:
            worker = pool.free()
            assert worker is not None
            worker.give("__import__('time').sleep(600)")
            pool.start()
            raise error

    begun = time.monotonic()
    with pytest.raises(error):
        broken()
    assert [gone(worker) for worker in made] == [True, True]
    assert time.monotonic() - begun < 300


def test_workers_hear_no_ctrl_c() -> None:
    strike = "__import__('signal').raise_signal(2)"
    assert done([f"({strike}, 'lives')[1]"], []) == ["lives"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_workers_compute_in_one_thread_and_find_the_modules_of_their_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_parent.py").write_text("VALUE = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    jobs = ["__import__('os').environ['OMP_NUM_THREADS']", "__import__('beside_the_parent').VALUE"]
    assert done(jobs, []) == ["1", 5]


def test_a_worker_that_only_serves_imports_next_to_nothing() -> None:
    heavy = ("torch", "numpy", "pandas", "inspect", "dataclasses", "ctypes")
    (names,) = done([f"[name for name in {heavy!r} if name in __import__('sys').modules]"], [])
    assert names == []
