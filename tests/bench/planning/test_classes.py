"""Names become classes once, when a request is planned: nothing that plans goes back to the registry for them."""

from collections import Counter

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.classes import classes_of
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.methods.joint import Joint


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    visits: Counter[str] = Counter()
    for name in ("method", "dataset", "method_names", "setting_owners"):
        original = getattr(registry, name)

        def visit(*arguments: str, name: str = name, original=original):  # type: ignore[no-untyped-def]
            visits[f"{name}({', '.join(arguments)})"] += 1
            return original(*arguments)

        monkeypatch.setattr(registry, name, visit)
    return visits


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_every_name_is_looked_up_once(seeds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    visits = counted(monkeypatch)
    sets = {"epochs": ["1", "2"], "mcr.strategy": ["greedy", "independent"], "encoder.m1.width": ["8"]}
    plan = make_plan(Request(["joint", "mcr", "uni-pre-frozen"], ["synthetic"], seeds=seeds, overrides=sets))
    assert len(plan.runs) > 4 * len(seeds)
    looked_up = {name: n for name, n in visits.items() if name.startswith(("method(", "dataset("))}
    assert looked_up == {
        **{f"method({name})": 1 for name in ("joint", "mcr", "uni-pre-frozen", "unimodal")},
        "dataset(synthetic)": 1,
    }
    assert visits["setting_owners()"] <= 2  # once for the request, once to read the presets of the user's


def test_what_an_optional_request_cannot_have_is_told_and_the_rest_is_there() -> None:
    classes = classes_of(["joint", "no-such", "other"], ["synthetic", "no-set", "none.py"], optional=True)
    assert classes.methods == [("joint", Joint)]
    assert classes.unknown_methods == ("no-such", "other")
    assert list(classes.datasets) == ["synthetic"]
    assert classes.unknown_datasets["no-set"] == "not offered here: no dataset 'no-set' is registered"
    assert "dataset file 'none.py' does not exist" in classes.unknown_datasets["none.py"]
    with pytest.raises(UserError, match="unknown method 'no-such'"):
        classes_of(["joint", "no-such"], [], optional=False)
    with pytest.raises(UserError, match="unknown dataset 'no-set'"):
        classes_of([], ["no-set"], optional=False)
