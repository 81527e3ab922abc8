"""Each planted fault is caught by the property that is meant for it, with its reason, and by no other one."""

import re
from functools import cache
from pathlib import Path

import pytest
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.testing.card import Outcome, outcome_of
from mcr_bench.bench.testing.methods.kit import KIT, PROPERTIES
from mcr_bench.bench.testing.trials.trials import FAILS, Trials
from mcr_bench.datasets.base import Batch, Facts
from mcr_bench.methods.base import Method
from mcr_bench.tests.methods.broken import planted
from mcr_bench.tests.methods.broken.planted import PLANTED, Planted
from mcr_bench.tests.methods.broken.sound import SOUND, SlowInsideTheStep, Sound
from mcr_bench.tests.support.house.examples import blocks

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


def test_a_rate_that_is_used_at_once_may_be_set_inside_the_step() -> None:
    trials, asked = Trials(SlowInsideTheStep, FILE), ("learning-rates", "acts")
    assert {outcome_of(one, trials).state for one in PROPERTIES if one.name in asked} == {"passed"}


EXAMPLES = blocks("docs/methods.md", "py")
SHORT = {"again": ["complete-card"]}  # an example without a card


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_of_the_page_have_no_fault(number: int, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(EXAMPLES[number], encoding="utf-8")
    opened = KIT.opened(str(tmp_path / "example.py"))
    outcomes = [outcome_of(one, opened.of, opened.file) for one in PROPERTIES]
    failed = {one.property: one.reason for one in outcomes if one.state == "failed"}
    assert list(failed) == SHORT.get(opened.subject, []), failed


class NeverMade(Sound):
    """A method that cannot even be asked."""

    def skip(self, facts: Facts) -> str | None:
        raise KeyError("nothing")


class FailsPlainly(Sound):
    """A method whose loss has a slip of the pen."""

    def decay(self, outputs: Outputs, batch: Batch) -> Tensor:
        return outputs.no_such_thing  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("cls", "says"), [(NeverMade, "KeyError"), (FailsPlainly, "no_such_thing")])
def test_of_a_method_that_does_not_train_one_property_fails(cls: type[Method], says: str) -> None:
    trials = Trials(cls, Path(__file__))
    told = [outcome_of(one, trials, Path(__file__)) for one in PROPERTIES]
    (failed,) = [one for one in told if one.state == "failed"]
    assert (failed.property, says in failed.reason) == ("any-number", True)
    assert re.search(r"\(test_kit.py, line \d+\)$", failed.reason)
    assert len([one for one in told if one.reason == FAILS]) > 30


def test_the_hint_of_a_plain_error_is_not_about_numbers_of_modalities() -> None:
    trials = Trials(FailsPlainly, FILE)
    assert "make_fit(method)" in outcome_of(PROPERTIES[0], trials).hint
    assert "Needs(at_most=2)" in outcome_of(PROPERTIES[0], Trials(planted.TwoAlone, FILE)).hint


each = pytest.mark.parametrize("fault", PLANTED, ids=[fault.cls.__name__ for fault in PLANTED])


@each
def test_a_planted_fault_is_caught_by_its_property(fault: Planted) -> None:
    (mine,) = [one for one in PROPERTIES if one.name == fault.property]
    caught = outcome_of(mine, Trials(fault.cls, FILE), FILE)
    assert caught.state == "failed"
    assert re.search(fault.reason, caught.reason, re.DOTALL), caught


@pytest.mark.slow
@each
def test_a_planted_fault_is_caught_by_no_other_property(fault: Planted) -> None:
    assert failures(fault.cls).keys() == {fault.property}


def test_every_property_has_a_fault_that_it_alone_catches() -> None:
    assert {fault.property for fault in PLANTED} == {one.name for one in PROPERTIES}
    assert len({one.name for one in PROPERTIES}) == len(PROPERTIES)
