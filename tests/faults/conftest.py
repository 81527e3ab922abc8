"""Collects the outcomes of the trials; with MCR_BENCH_FAULTS_PAGE, the page is written there at the end."""

import os
from pathlib import Path

import pytest

from mcr_bench.tests.support.faults import UNPROTECTED, Fault, Trial, page

HERE = Path(__file__).parent
FAULTS: dict[str, Fault] = {}
TRIALS: dict[str, Trial] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every trial what its report has to tell: properties travel from a worker to the process that leads it."""
    for item in items:
        if item.path.parent == HERE and isinstance(item, pytest.Function) and isinstance(item.module.FAULT, Fault):
            fault: Fault = item.module.FAULT
            words = (item.function.__doc__ or "").strip().split("\n")[0].rstrip(".")
            unprotected = item.get_closest_marker(UNPROTECTED) is not None
            item.user_properties.append(("trial", [item.path.stem, fault.what, fault.promise, words, unprotected]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    trial = dict(report.user_properties).get("trial")
    if isinstance(trial, list) and (report.when == "call" or report.outcome != "passed"):
        module, what, promise, words, unprotected = trial
        times = dict(report.user_properties).get("times")
        FAULTS[module] = Fault(what, promise)
        TRIALS[report.nodeid] = Trial(
            module, words, report.outcome, unprotected, times if isinstance(times, int) else 1
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    place = os.environ.get("MCR_BENCH_FAULTS_PAGE")
    if place and not hasattr(session.config, "workerinput"):
        Path(place).write_text(page(dict(sorted(FAULTS.items())), TRIALS.values()), encoding="utf-8")
