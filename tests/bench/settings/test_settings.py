"""Settings: what may be said, what a wrong word is answered, and which of two layers wins."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.resolve import concerns, layered, resolve_dataset, resolve_run
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import build, declared, resolve, setting

JOINT, SYNTHETIC = registry.method("joint"), registry.dataset("synthetic")
TWO = ("audio", "video")


@dataclass(frozen=True)
class Inner:
    rate: float = setting(0.5, "a rate", origin="a paper", at_least=0, at_most=1)


@dataclass(frozen=True)
class Example:
    count: int = setting(3, "how many", at_least=0)
    whole: float = setting(1, "a number whose default is written as a whole one")
    rule: Literal["mean", "sum"] = setting("mean", "how")
    loud: bool = setting(True, "whether")
    text: str = setting("", "words")
    inner: Inner = field(default_factory=Inner)
    place: str = "no setting"


def test_declarations_are_read_with_dotted_keys_and_without_other_fields() -> None:
    found = declared(Example)
    assert list(found) == ["count", "whole", "rule", "loud", "text", "inner.rate"]
    assert (found["inner.rate"].doc, found["inner.rate"].origin) == ("a rate", "a paper")
    assert {k: d.allowed for k, d in found.items()} == {
        "count": "whole number >= 0",
        "whole": "number",
        "rule": "mean | sum",
        "loud": "true | false",
        "text": "text",
        "inner.rate": "number >= 0 and <= 1",
    }


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("count", "0", 0),
        ("count", 0, 0),
        ("count", "1e3", 1000),
        ("count", 2.0, 2),
        ("whole", "1e-3", 0.001),
        ("whole", 2, 2.0),
        ("rule", "sum", "sum"),
        ("loud", "false", False),
        ("loud", "FALSE", False),
        ("loud", False, False),
        ("text", "", ""),
        ("text", 5, "5"),
        ("inner.rate", "0", 0.0),
        ("inner.rate", "1", 1.0),
    ],
)
def test_values_take_their_declared_type(key: str, given: object, value: object) -> None:
    parsed = resolve(Example, {key: given})[key]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("key", "given", "allowed"),
    [
        ("count", "-1", "whole number >= 0"),
        ("count", "1.5", "whole number >= 0"),
        ("count", "many", "whole number >= 0"),
        ("count", "", "whole number >= 0"),
        ("count", True, "whole number >= 0"),
        ("count", "inf", "whole number >= 0"),
        ("whole", "nan", "number"),
        ("whole", "inf", "number"),
        ("whole", "-inf", "number"),
        ("rule", "median", "mean | sum"),
        ("rule", "Mean", "mean | sum"),
        ("loud", "1", "true | false"),
        ("loud", "yes", "true | false"),
        ("inner.rate", "1.01", "number >= 0 and <= 1"),
        ("inner.rate", "-0.01", "number >= 0 and <= 1"),
    ],
)
def test_values_that_do_not_fit_are_errors_naming_what_is_allowed(key: str, given: object, allowed: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(Example, {key: given}, "mine.")
    default = declared(Example)[key].default
    assert str(error.value) == f"mine.{key}={given}: not allowed. Allowed: {allowed} (default {default})."


@pytest.mark.parametrize(("key", "near"), [("coutn", "mine.count"), ("inner.rat", "mine.inner.rate")])
def test_unknown_keys_name_the_nearest(key: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"unknown setting 'mine.{key}'. Did you mean {near}[ ?].*Known: .*mine\.text"):
        resolve(Example, {key: "1"}, "mine.")


def test_a_default_and_the_same_value_said_aloud_are_one() -> None:
    silent, spoken = resolve(Example, {}), resolve(Example, {"whole": "1", "count": "3", "loud": "true"})
    assert repr(silent) == repr(spoken)  # 1 and 1.0 would be different keys of a run


def test_build_fills_nested_classes_and_fields_that_are_no_settings() -> None:
    made = build(Example, {"count": "0", "loud": "false", "inner.rate": 0}, place="here")
    assert made == Example(count=0, whole=1.0, loud=False, inner=Inner(0.0), place="here")


def resolved(values: dict[str, Any], method: str = "joint"):  # type: ignore[no-untyped-def]
    return resolve_run(values, registry.method(method), SYNTHETIC, TWO)


def test_settings_reach_what_they_configure() -> None:
    found = resolved({"epochs": "0", "optimizer.lr": "0", "model.width": 7, "encoder.width": 5, "dataset.train": 9})
    assert (found.training["epochs"], found.training["optimizer.lr"]) == (0, 0.0)
    assert found.model["width"] == 7
    assert [found.encoders[m]["width"] for m in TWO] == [5, 5]
    assert resolve_dataset({"dataset.train": "9", "epochs": 3}, SYNTHETIC)["train"] == 9


def test_one_modality_s_encoder_wins_over_every_modality_s() -> None:
    found = resolved({"encoder.video.depth": 4, "encoder.depth": 3, "encoder.video.dropout": "0.25"}).encoders
    assert [found[m]["depth"] for m in TWO] == [3, 4]
    assert [found[m]["dropout"] for m in TWO] == [0.0, 0.25]


@pytest.mark.parametrize("order", [1, -1])
def test_a_method_s_own_table_wins_over_the_common_one(order: int) -> None:
    pairs = [("optimizer.lr", 0.1), ("joint.optimizer.lr", 0.2), ("joint.encoder.width", 4), ("encoder.width", 8)]
    pairs += [("joint.encoder.audio.width", 2), ("model.width", 3), ("joint.model.width", 6)]
    values = dict(pairs[::order])
    found, other = resolved(values), resolved(values, "multi-loss")
    assert (found.training["optimizer.lr"], other.training["optimizer.lr"]) == (0.2, 0.1)
    assert [found.encoders[m]["width"] for m in TWO] == [2, 4]
    assert [other.encoders[m]["width"] for m in TWO] == [8, 8]
    assert (found.model["width"], other.model["width"]) == (6, 3)


def test_the_user_wins_over_a_preset_and_over_its_narrower_settings() -> None:
    preset = {
        "epochs": 1,
        "joint.epochs": 2,
        "multi-loss.patience": 3,
        "encoder.audio.width": 4,
        "joint.encoder.audio.width": 5,
        "joint.encoder.depth": 6,
    }
    assert layered(preset, {"epochs": 7}) == {k: v for k, v in preset.items() if k != "joint.epochs"} | {"epochs": 7}
    assert layered(preset, {"encoder.width": 8}).keys() == {*preset, "encoder.width"} - {
        "encoder.audio.width",
        "joint.encoder.audio.width",
    }
    assert layered(preset, {"encoder.audio.width": 8})["encoder.audio.width"] == 8
    assert "joint.encoder.audio.width" not in layered(preset, {"encoder.audio.width": 8})
    assert layered(preset, {"joint.epochs": 8}) == preset | {"joint.epochs": 8}
    assert layered(preset, {}) == preset


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("epoch", "Did you mean epochs"),
        ("optimizer.rl", "optimizer.lr"),
        ("encoder.vidoe.width", "encoder.video.width"),
        ("encoder.video.widht", "Did you mean encoder.width"),
        ("encoder", "unknown setting 'encoder'"),
        ("model", "unknown setting 'model'"),
        ("dataset", "unknown setting 'dataset'"),
        ("joint", "unknown setting 'joint"),
        ("joint.epoch", "Did you mean joint.epochs"),
        ("joint.dataset.train", "unknown setting 'joint.dataset.train'"),
        ("mrc.lambda_mipd", "Did you mean mcr.lambda_mipd"),
    ],
)
def test_unknown_settings_of_a_run_name_the_nearest(key: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        resolved({key: "1"})


def test_an_unknown_dial_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown setting 'dataset.tarin'. Did you mean dataset.train"):
        resolve_dataset({"dataset.tarin": "1"}, SYNTHETIC)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("epochs", True),
        ("joint.epochs", True),
        ("multi-loss.epochs", False),
        ("encoder.width", True),
        ("encoder.audio.width", True),
        ("encoder.video.width", False),
        ("joint.encoder.video.width", False),
    ],
)
def test_a_setting_concerns_the_runs_that_read_it(key: str, answer: bool) -> None:
    assert concerns(key, {"joint"}, ("audio",)) is answer


@dataclass
class Wrapped:
    """Settings with a part that the class makes itself."""

    inner: Inner = field(default_factory=Inner, init=False)
    weight: float = setting(1.0, "a weight")


def test_a_part_that_a_class_makes_itself_has_no_settings() -> None:
    assert declared(Wrapped).keys() == {"weight"}
    assert build(Wrapped, {"weight": 2.0}) == Wrapped(weight=2.0)
