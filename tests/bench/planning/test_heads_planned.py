"""Fusion heads with settings of their own, as they are planned: their keys, their errors, and what others keep."""

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import Plan, make_plan
from mcr_bench.bench.planning.request import Request


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("heads") / "four.npz"
    y = np.arange(30) % 3
    x = {f"x_{m}": np.zeros((30, 4), dtype="float32") + y[:, None] for m in ("a", "b", "c", "d")}
    np.savez(path, y=y, split=np.repeat(["train", "val", "test"], 10), **x)
    return str(path)


def planned(data: str, *methods: str, **settings: str) -> Plan:
    overrides = {k.replace("__", "."): [v] for k, v in settings.items()}
    return make_plan(Request(list(methods), [data], seeds=[0], overrides=overrides))


def test_a_head_has_its_settings_and_no_others(data: str) -> None:
    (run,) = planned(data, "joint", model__fusion="cross-modal", model__layers="2", model__width="12").runs
    assert run.model == {
        "fusion": "cross-modal",
        "width": 12,
        **{"size": 30, "layers": 2, "heads": 5, "dropout": 0.1, "embed_dropout": 0.2},
    }
    (plain,) = planned(data, "joint", model__fusion="gated").runs
    assert plain.model == {"fusion": "gated", "width": 64, "conditioning": ""}
    assert plain.key != run.key


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model__fusion": "cross-modal", "model__layer": "2"}, "unknown setting of cross-modal 'model.layer'.*layers"),
        ({"model__fusion": "class-token", "model__conditioning": "a"}, "unknown setting of class-token"),
        ({"model__fusion": "central-path", "model__layers": "2"}, "unknown setting 'model.layers'"),
        ({"model__fusion": "gated", "model__layers": "2"}, "unknown setting 'model.layers'"),
        ({"model__fusion": "bottleneck-tokens", "model__bottlenecks": "0"}, "bottlenecks=0: not allowed.*>= 1"),
        ({"model__fusion": "class-token", "model__heads": "5"}, "model.heads=5 does not divide"),
        ({"model__fusion": "tensor-fusion"}, r"65 x 65 x 65 x 65 = 17,850,625 numbers.*projection=25 \(or less\)"),
        ({"model__fusion": "tensor-fusion", "model__projection": "e=2"}, "unknown modality in model.projection 'e'"),
        ({"model__fusion": "class-tokens"}, "unknown fusion 'class-tokens'.*Did you mean class-token"),
    ],
)
def test_what_a_head_cannot_have_is_an_error_of_the_plan(data: str, settings: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned(data, "joint", **settings)


def test_every_modality_may_have_a_projection_of_its_own(data: str) -> None:
    (run,) = planned(data, "joint", model__fusion="tensor-fusion", model__projection="a=3;b=3;c=3;d=3").runs
    assert run.model == {"fusion": "tensor-fusion", "width": 64, "projection": "a=3;b=3;c=3;d=3", "hidden": 128}


def test_a_single_modality_is_planned_with_any_head(data: str) -> None:
    for head in ("tensor-fusion", "cross-modal", "central-path"):
        runs = planned(
            data, "unimodal", model__fusion=head, **({"model__projection": "1"} if head[0] == "t" else {})
        ).runs
        assert [run.modalities for run in runs] == [("a",), ("b",), ("c",), ("d",)]
