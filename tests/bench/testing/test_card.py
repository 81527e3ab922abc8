"""Cards: which properties hold, why not, and the line of the user's file; what of the process has changed."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.testing.card import ROOT, Checked, Failed, NotApplicable, Outcome, Property, checked
from mcr_bench.bench.testing.card_text import card_data, card_text
from mcr_bench.bench.testing.process import ProcessState


def fails(_number: int) -> None:
    raise Failed("it is odd")


def does_not_apply(_number: int) -> None:
    raise NotApplicable("it is not a fraction")


def breaks(number: int) -> None:
    raise KeyError(number)


def ends(_number: int) -> None:
    raise SystemExit(3)


def warns(_number: int) -> None:
    warnings.warn("never mind", stacklevel=2)


def property_of(check: object) -> Property[int]:
    return Property(str(check.__name__), "it does", "do it", check)  # type: ignore[attr-defined, arg-type]


CARD = checked(
    "seven", "number", [property_of(f) for f in (warns, fails, does_not_apply, breaks, ends)], 7, Path(__file__)
)


def test_every_way_in_which_a_check_ends() -> None:
    assert [(one.property, one.state) for one in CARD.outcomes] == [
        ("warns", "passed"),
        ("fails", "failed"),
        ("does_not_apply", "not applicable"),
        ("breaks", "failed"),
        ("ends", "failed"),
    ]
    assert [one.reason for one in CARD.outcomes[:3]] == ["", "it is odd", "it is not a fraction"]
    line = breaks.__code__.co_firstlineno + 1
    assert CARD.outcomes[3].reason == f"KeyError: 7 (test_card.py, line {line})"
    assert CARD.outcomes[4].reason.startswith("SystemExit: 3")
    assert not CARD.holds
    assert Checked("seven", "number", CARD.outcomes[:1]).holds


def test_an_error_that_no_line_of_the_file_leads_to_has_that_of_the_harness() -> None:
    (outcome,) = checked("seven", "number", [property_of(breaks)], 7, Path("another.py")).outcomes
    line = breaks.__code__.co_firstlineno + 1
    place = f"no line of another.py; in {ROOT.name}/tests/bench/testing/test_card.py, line {line}"
    assert outcome.reason == f"KeyError: 7 ({place})"


def test_an_error_has_no_line_where_no_file_is_known() -> None:
    (outcome,) = checked("seven", "number", [property_of(breaks)], 7).outcomes
    assert outcome.reason == "KeyError: 7"


def test_a_failure_may_have_a_hint_of_its_own() -> None:
    def fails_otherwise(_number: int) -> None:
        raise Failed("it is 3", "take 4")

    outcomes = checked("seven", "number", [property_of(fails_otherwise), property_of(fails)], 7).outcomes
    assert [one.hint for one in outcomes] == ["take 4", "do it"]


def test_what_does_not_apply_for_one_reason_takes_one_line() -> None:
    rest = [Outcome(name, "not applicable", "not checked, as it fails", 0.0, "it runs", "") for name in "abc"]
    pair = [Outcome(name, "not applicable", "it has no end", 0.0, "it ends", "") for name in "xy"]
    ok = Outcome("last", "passed", "", 0.1, "it lasts", "")
    text = card_text(Checked("mine", "method", (*rest, *pair, ok)))
    assert text.splitlines()[1:5] == [
        "  -     x         it has no end",
        "  -     y         it has no end",
        "  ok    last      it lasts",
        "  -     3 others  not checked, as it fails: a, b, c",
    ]
    assert text.endswith("1 hold, 0 do not, 5 do not apply.")


def test_ctrl_c_is_no_failure() -> None:
    def stopped(_number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checked("seven", "number", [property_of(stopped)], 7)


def test_the_printed_card() -> None:
    card = Checked(
        "mine",
        "method",
        (
            Outcome("first", "passed", "", 0.1, "it runs", "run"),
            Outcome("another", "failed", "it is 3", 0.1, "it is even", "add 1"),
            Outcome("last", "not applicable", "it has no end", 0.1, "it ends", "end it"),
        ),
        (("cost", "2 steps"),),
    )
    assert card_text(card) == (
        "mine (method)\n"
        "  ok    first    it runs\n"
        "  FAIL  another  it is even\n"
        "  -     last     it has no end\n"
        "cost: 2 steps\n"
        "\n"
        "another does not hold: it is even.\n"
        "  reason: it is 3\n"
        "  hint: add 1\n"
        "\n"
        "1 hold, 1 do not, 1 do not apply."
    )
    data = card_data(card)
    assert (data["subject"], data["kind"], data["holds"], data["notes"]) == (
        "mine",
        "method",
        False,
        {"cost": "2 steps"},
    )
    assert data["properties"][1] == {  # type: ignore[index]
        "name": "another",
        "state": "failed",
        "promise": "it is even",
        "reason": "it is 3",
        "hint": "add 1",
        "seconds": 0.1,
    }
    assert "hint" not in data["properties"][0]  # type: ignore[index]


REPLACED = [
    (torch.nn.functional, "relu", "torch.nn.functional.relu is not what it was"),
    (torch.Tensor, "relu", "torch.Tensor.relu is not what it was"),
    (torch.nn.Linear, "forward", "torch.nn.modules.linear.Linear.forward is not what it was"),
    (torch.nn.Linear, "a_new_one", "torch.nn.modules.linear.Linear.a_new_one is not what it was"),
    (MultimodalModel, "fuse", "mcr_bench.bench.models.multimodal.MultimodalModel.fuse is not what it was"),
]


@pytest.mark.parametrize(("owner", "name", "told"), REPLACED)
def test_what_is_replaced_is_seen_and_put_back(owner: object, name: str, told: str) -> None:
    before, state = getattr(owner, name, None), ProcessState()
    setattr(owner, name, print)
    seen = state.changes()
    state.undo()
    assert seen == [told]
    assert getattr(owner, name, None) is before
    assert state.changes() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m.setenv("MCR_BENCH_X", "1"), "the environment variable MCR_BENCH_X is now '1', not unset"),
        (lambda m: m.setattr(warnings, "filters", []), "the filters of warnings is now []"),
        (lambda m: m.chdir(os.sep), "the working folder is now"),
    ],
)
def test_what_else_belongs_to_the_process_is_seen(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None], told: str
) -> None:
    state = ProcessState()
    change(monkeypatch)
    (seen,) = state.changes()
    assert told in seen


def test_switches_of_torch_are_seen() -> None:
    state, dtype = ProcessState(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert state.changes()[0] == "torch's default dtype is now torch.float64, not torch.float32"
    finally:
        torch.set_default_dtype(dtype)
    assert state.changes() == []


def test_what_a_file_replaces_is_told_from_what_its_libraries_do(monkeypatch: pytest.MonkeyPatch) -> None:
    state, module = ProcessState(), ModuleType("mine")
    exec(compile("def relu(x):\n    return x\n", "mine.py", "exec"), vars(module))
    monkeypatch.setattr(torch.nn.functional, "relu", vars(module)["relu"])
    monkeypatch.setattr(torch.nn.functional, "gelu", print)
    monkeypatch.setenv("MCR_BENCH_X", "1")
    assert state.changes_by("mine.py") == ["torch.nn.functional.relu is not what it was"]


def test_user_errors_are_told_without_their_type() -> None:
    def refuses(_number: int) -> None:
        raise UserError("give 3")

    (outcome,) = checked("seven", "number", [property_of(refuses)], 7).outcomes
    assert outcome.reason == "give 3"
