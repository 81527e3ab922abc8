"""Each planted fault is caught by the property that is meant for it, with its reason, and by no other one."""

import re
from functools import cache
from pathlib import Path

import pytest

from mcr_bench.bench.testing.card import Outcome, outcome_of
from mcr_bench.bench.testing.methods.kit import PROPERTIES
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.methods.base import Method
from mcr_bench.tests.methods.broken import planted
from mcr_bench.tests.methods.broken.planted import PLANTED, Planted
from mcr_bench.tests.methods.broken.sound import SOUND

FILE = Path(planted.__file__)


@cache
def outcomes(cls: type[Method]) -> list[Outcome]:
    trials = Trials(cls, FILE)
    return [outcome_of(one, trials, FILE) for one in PROPERTIES]


def failures(cls: type[Method]) -> dict[str, str]:
    return {one.property: one.reason for one in outcomes(cls) if one.state == "failed"}


@pytest.mark.parametrize("cls", SOUND)
def test_a_method_without_a_fault_has_none(cls: type[Method]) -> None:
    assert failures(cls) == {}
    assert {"acts", "resume", "order-of-modalities"} <= {one.property for one in outcomes(cls) if one.state == "passed"}


@pytest.mark.parametrize("fault", PLANTED, ids=[fault.cls.__name__ for fault in PLANTED])
def test_a_planted_fault_is_caught_by_its_property_alone(fault: Planted) -> None:
    caught = failures(fault.cls)
    assert caught.keys() == {fault.property}, caught
    assert re.search(fault.reason, caught[fault.property], re.DOTALL), caught


def test_every_property_has_a_fault_that_it_alone_catches() -> None:
    assert {fault.property for fault in PLANTED} == {one.name for one in PROPERTIES}
    assert len({one.name for one in PROPERTIES}) == len(PROPERTIES)
