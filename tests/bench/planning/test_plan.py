"""The plan: which runs, each once, in which order, and under which keys."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.method_form import check_form
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning import specs
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.methods.base import Delay, Requirement
from mcr_bench.tests.support.runs.planned import Mine, by_label, keys, only, planned, register, save

pytestmark = pytest.mark.usefixtures("plain")


def test_dependencies_come_first_once_and_shared(data: str) -> None:
    plan = planned(data, "ensemble", "uni-pre-frozen", "joint", seeds=(0, 1))
    assert len(plan.runs) == len(set(keys(plan))) == 2 * (3 + 3)
    for i, run in enumerate(plan.runs):
        assert {d.key for d in run.dependencies} <= {r.key for r in plan.runs[:i]}
        assert {(d.seed, d.fold, d.protocol) for d in run.dependencies} <= {(run.seed, run.fold, run.protocol)}
    ensemble, frozen = ([r for r in plan.runs if r.method == m] for m in ("ensemble", "uni-pre-frozen"))
    assert [d.key for d in ensemble[0].dependencies] == [d.key for d in frozen[0].dependencies]
    assert [d.modalities for d in ensemble[0].dependencies] == [("a",), ("b",), ("c",)]


def test_what_was_asked_for_is_told_from_what_it_needs(data: str) -> None:
    plan = planned(data, "ensemble")
    assert [r.key in plan.requested for r in plan.runs] == [False, False, False, True]
    assert {*keys(planned(data, "ensemble", "unimodal"))} == planned(data, "unimodal", "ensemble").requested


def test_the_order_of_modalities_does_not_matter(data: str) -> None:
    one, other = (planned(data, "joint", "ensemble", modalities=m) for m in (("a", "c"), ("c", "a")))
    assert keys(one) == keys(other)
    assert only(planned(data, "joint", modalities=("c", "a"))).modalities == ("a", "c")
    assert keys(planned(data, "joint", modalities=("c", "b", "a"))) == keys(planned(data, "joint"))


def test_unimodal_runs_are_shared_between_sets_of_modalities(data: str) -> None:
    small, large = by_label(planned(data, "all", modalities=("a", "b"))), by_label(planned(data, "all"))
    assert {k for k in small if small[k] == large.get(k)} == {"unimodal (a)/0/a", "unimodal (b)/0/b"}
    assert not set(small.values()) & {v for k, v in large.items() if not k.startswith("unimodal")}


def test_a_list_makes_a_grid_without_doubles(data: str) -> None:
    plan = planned(data, "joint", "mcr", "multi-loss", set={"mcr.lambda_mipd": ["0.01", "0.1"], "epochs": ["3", "5"]})
    assert [r.label for r in plan.runs if r.method == "joint"] == ["joint [epochs=3]", "joint [epochs=5]"]
    assert [r.label for r in plan.runs if r.method == "mcr"] == [
        f"mcr [mcr.lambda_mipd={w} epochs={e}]" for w in ("0.01", "0.1") for e in (3, 5)
    ]
    assert len(plan.runs) == len(set(keys(plan))) == 8
    assert len(planned(data, "joint", set={"optimizer.lr": ["0.01", "1e-2"]}).runs) == 1


def test_zero_and_false_are_values(data: str) -> None:
    run = only(planned(data, "mcr", set={"mcr.lambda_mipd": ["0"], "epochs": ["0"], "optimizer.weight_decay": ["0"]}))
    assert (run.settings["lambda_mipd"], run.training["epochs"], run.training["optimizer.weight_decay"]) == (0, 0, 0)
    assert run.key != only(planned(data, "mcr")).key


def test_the_default_said_aloud_is_the_same_run(data: str) -> None:
    run = only(planned(data, "joint"))
    spoken = {k: [str(v)] for k, v in run.training.items()} | {f"model.{k}": [str(v)] for k, v in run.model.items()}
    assert only(planned(data, "joint", set=spoken)).key == run.key
    assert only(planned(data, "joint", set={"monitor": ["auto"]})).key == run.key


@pytest.mark.parametrize(
    "change",
    [
        {"set": {"epochs": ["7"]}},
        {"set": {"model.width": ["7"]}},
        {"set": {"encoder.a.width": ["7"]}},
        {"set": {"dataset.allow_group_overlap": ["true"]}},
        {"seeds": (1,)},
        {"modalities": ("a", "b")},
        {"set": {"precision": ["bf16"]}},
    ],
    ids=str,
)
def test_whatever_decides_the_result_changes_the_key(data: str, change: dict[str, object]) -> None:
    assert only(planned(data, "joint", **change)).key != only(planned(data, "joint")).key


def test_the_place_of_the_data_does_not_matter_but_its_content_does(data: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy(data, tmp_path / "elsewhere" / "other_name.npz")
    assert keys(planned(str(moved), "all")) == keys(planned(data, "all"))
    changed = save(tmp_path / "changed.npz", classes=(0, 1, 2, 2))
    assert not set(keys(planned(changed, "all"))) & set(keys(planned(data, "all")))


def test_dials_of_the_data_make_data_of_their_own() -> None:
    plan = planned("synthetic", "ensemble", set={"dataset.train": ["20", "30"]})
    assert len({r.data_identity for r in plan.runs}) == 2
    assert len({r.key for r in plan.runs}) == len(plan.runs) == 2 * 3
    for run in plan.runs:
        assert {d.data_identity for d in run.dependencies} <= {run.data_identity}
    assert len({r.data_identity for r in planned("synthetic", "all", set={"epochs": ["1", "2"]}).runs}) == 1


def test_adding_a_method_changes_nobody_s_key(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = by_label(planned(data, "all"))
    register(monkeypatch, Mine)
    after = by_label(planned(data, "all"))
    assert after.keys() - before.keys() == {"mine/0/a,b,c"}
    assert {k: after[k] for k in before} == before


def test_a_new_digest_changes_the_runs_of_the_method_and_of_those_that_need_it(
    data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, plain = by_label(planned(data, "all")), specs.behaviour_digest
    monkeypatch.setattr(specs, "behaviour_digest", lambda cls: "new" if cls.name == "unimodal" else plain(cls))
    after = by_label(planned(data, "all"))
    changed = {k.partition("/")[0] for k in before if after[k] != before[k]}
    needing = {r.method for r in planned(data, "all").runs if r.dependencies}
    assert changed == {"unimodal (a)", "unimodal (b)", "unimodal (c)"} | needing
    assert len(needing) >= 4


def test_config_joins_the_seeds_of_a_row(data: str) -> None:
    plan = planned(data, "ensemble", seeds=(0, 1), set={"epochs": ["1", "2"]})
    rows = {(r.label, r.modalities): {x.config for x in plan.runs if x.label == r.label} for r in plan.runs}
    assert all(len(configs) == 1 for configs in rows.values())
    assert len({r.config for r in plan.runs}) == 2 * 4


def test_several_data_sets_in_one_plan(data: str, tmp_path: Path) -> None:
    other = save(tmp_path / "other.npz", classes=(0, 1))
    plan = make_plan(Request(["joint", "ensemble"], [data, other], seeds=[0]))
    assert [r.dataset for r in plan.runs] == ["small.npz"] * 5 + ["other.npz"] * 5
    assert len({r.data_identity for r in plan.runs}) == 2


def test_methods_are_planned_once_in_the_order_given(data: str) -> None:
    assert [r.method for r in planned(data, "multi-loss", "joint", "multi-loss").runs] == ["multi-loss", "joint"]
    plan = planned(data, "all")  # of a set with three modalities
    reasons = {method: reason for _, method, reason in plan.skipped}
    assert set(reasons) == {n for n in registry.method_names() if registry.method(n).needs.at_most < 3}
    assert {r.method for r in plan.runs} == set(registry.method_names()) - set(reasons)
    assert all("at most 2 modalities" in reason or "class-token" in reason for reason in reasons.values())


def test_two_methods_of_one_name_are_an_error(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "method", lambda _name: Mine)
    with pytest.raises(UserError, match=r"--methods: x/mine.py, y/mine.py are all called 'mine'"):
        planned(data, "x/mine.py", "y/mine.py")


def test_params_and_tags_are_flat_text(data: str) -> None:
    run = planned(data, "mcr", set={"mcr.start": ["unimodal"]}).runs[-1]
    params, tags = run.params(), run.tags()
    assert (params["mcr.start"], params["epochs"], params["encoder.b.kind"]) == ("unimodal", "50", "mlp")
    assert (params["model.fusion"], params["dataset.allow_group_overlap"]) == ("late-linear", "False")
    assert tags["dependencies"].split(",") == [d.key for d in run.dependencies]
    assert (tags["key"], tags["modalities"], tags["overrides"]) == (run.key, "a,b,c", "mcr.start=unimodal")
    assert all(isinstance(v, str) for v in (*params.values(), *tags.values()))


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> type[Mine]:
    register(monkeypatch, Mine)
    return Mine


def test_chains_of_dependencies_are_unrolled(data: str, monkeypatch: pytest.MonkeyPatch, mine: type[Mine]) -> None:
    monkeypatch.setattr(mine, "requires", lambda _self, modalities: [Requirement("ensemble", modalities)])
    assert [r.method for r in planned(data, "mine").runs] == ["unimodal"] * 3 + ["ensemble", "mine"]


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("joint", {}, 1),
        ("opm", {}, 6),
        ("opm", {"opm.start": "2"}, 2),
        ("diagnosing-relearning", {}, 21),
        ("mslr", {}, 7),
        ("g2d", {"g2d.share": "0.5"}, 16),
        ("g2d", {"g2d.share": "0"}, 1),
        ("crmt", {"crmt.share": "0.2"}, 25),
        ("di-mml", {"di-mml.start": "0.1", "di-mml.second": "0.1"}, 28),
        ("crmt", {"crmt.share": "0"}, 1),
        ("di-mml", {"di-mml.start": "0.1", "di-mml.second": "0"}, 4),
        ("mslr", {"mslr.memory": "0"}, 1),
        ("diagnosing-relearning", {"diagnosing-relearning.times": "0"}, 1),
        ("smv", {}, 6),
        ("moo", {"moo.aggregator": "stch"}, 6),
        ("moo", {}, 1),
        ("lfm", {}, 1),
        ("mcr", {}, 1),
        ("ogm", {"ogm.start": "9"}, 9),
        ("awc", {}, 2),
        ("cggm", {}, 2),
        ("cggm", {"cggm.start": "4"}, 4),
        ("inforeg", {}, 3),
        ("inforeg", {"inforeg.variant": "official"}, 1),
    ],
)
def test_the_epoch_from_which_a_rule_is_complete(
    data: str, method: str, settings: dict[str, str], expected: int
) -> None:
    """By hand, for runs of 30 epochs: tables name those whose tested epoch came before it."""
    plan = planned(data, method, set={"epochs": ["30"], **{key: [value] for key, value in settings.items()}})
    (run,) = [run for run in plan.runs if run.method == method]
    assert run.complete_from == expected
    assert run.tags()["complete_from"] == str(expected)


@dataclass
class Hot(Mine):
    """A method with a temperature."""

    start: float = setting(20.0, "the temperature")


def test_a_setting_start_that_is_no_epoch_delays_nothing(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Hot)
    assert only(planned(data, "mine")).complete_from == 1


@pytest.mark.parametrize(
    ("delays", "told"),
    [
        ((Delay("wramup", "first"),), "unknown setting 'wramup'"),
        ((Delay("start", "frist"),), "counts = 'frist': not allowed. Allowed: first, before, share, last"),
        ((Delay("start", "first", where=("rul", "x")),), "unknown setting 'rul'"),
        (("start",), r'Write \(Delay\("SETTING", "first"\),\), with the comma'),
    ],
)
def test_a_delay_that_cannot_be_is_refused(delays: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hot, "delays", delays)
    with pytest.raises(UserError, match=told):
        check_form(Hot, "hot.py", [])


def test_a_setting_may_name_modalities_of_the_run_alone(data: str) -> None:
    with pytest.raises(UserError, match=r"mslr\.rates=c=0: unknown modality 'c'.*a, b"):
        planned(data, "mslr", modalities=("a", "b"), set={"mslr.rates": ["c=0"]})
