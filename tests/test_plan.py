"""The plan: which runs, each once, in which order, under which keys; what is left out and what is said before."""

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mcr_bench.bench import plan as planning
from mcr_bench.bench import registry, specs
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.plan import Plan, Request, make_plan
from mcr_bench.bench.presets import Preset
from mcr_bench.bench.runs import RunSpec
from mcr_bench.bench.settings import setting
from mcr_bench.datasets.base import Facts, Protocol
from mcr_bench.methods.base import Method, Needs, Reference, Requirement

SHAPES = {"a": (4,), "b": (6,), "c": (3,)}
FOLDS = Protocol("three", "made here", "validation", "accuracy", folds=(1, 2, 3))


@dataclass
class Mine(Method):
    """A method that this test registers."""

    name: ClassVar[str] = "mine"
    alpha: float = setting(0.5, "a number")
    reference: ClassVar[Reference] = Reference("An idea", "this test")


def save(path: Path, regression: bool = False, classes: Sequence[int] = (0, 1, 2)) -> str:
    """An array file of 30 samples and three modalities."""
    rng = np.random.default_rng(0)
    y = np.resize(classes, 30)
    split = np.repeat(["train", "val", "test"], 10)
    arrays = {f"x_{m}": rng.normal(size=(30, *shape)).astype("float32") for m, shape in SHAPES.items()}
    np.savez(path, y=y + 0.5 if regression else y, split=split, **arrays)
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return save(tmp_path / "small.npz")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default preset says nothing here, so that tuned presets may change."""
    find, plain = planning.preset_of, Preset("plain", "this test", 10, {})
    monkeypatch.setattr(planning, "preset_of", lambda cls, name: find(cls, name) if name else plain)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> type[Mine]:
    register(monkeypatch, Mine)
    return Mine


def register(monkeypatch: pytest.MonkeyPatch, cls: type[Method]) -> None:
    """One more method in the registry, for one test."""
    names, find = registry.method_names, registry.method
    monkeypatch.setattr(registry, "method_names", lambda: sorted({*names(), cls.name}))
    monkeypatch.setattr(registry, "method", lambda name: cls if name == cls.name else find(name))


def planned(data: str, *methods: str, seeds: Sequence[int] | None = (0,), **others: object) -> Plan:
    overrides = others.pop("set", {})
    return make_plan(Request(list(methods), [data], seeds=seeds and list(seeds), overrides=overrides, **others))


def only(plan: Plan) -> RunSpec:
    (run,) = plan.runs
    return run


def keys(plan: Plan) -> list[str]:
    return [run.key for run in plan.runs]


def by_label(plan: Plan) -> dict[str, str]:
    return {f"{run.label}/{run.seed}/{','.join(run.modalities)}": run.key for run in plan.runs}


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


def test_unknown_modalities_protocols_and_presets_name_the_known(data: str) -> None:
    with pytest.raises(UserError, match=r"unknown modality of small.npz 'd'.*Known: a, b, c"):
        planned(data, "joint", modalities=("a", "d"))
    with pytest.raises(UserError, match=r"unknown protocol of small.npz 'fil'. Did you mean file"):
        planned(data, "joint", protocol="fil")
    with pytest.raises(UserError, match=r"unknown preset of arrays 'defualt'. Did you mean default"):
        planned(data, "joint", preset="defualt")


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
    before, plain = by_label(planned(data, "all")), specs.source_digest
    monkeypatch.setattr(specs, "source_digest", lambda cls: "new" if cls.name == "unimodal" else plain(cls))
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


def test_a_setting_of_what_a_run_starts_from_changes_the_run_and_its_label(data: str) -> None:
    plain = planned(data, "ensemble").runs
    tuned = planned(data, "ensemble", set={"unimodal.epochs": ["3"]}).runs
    assert not {r.key for r in plain} & {r.key for r in tuned}
    assert not {r.config for r in plain} & {r.config for r in tuned}
    assert tuned[-1].label == "ensemble [unimodal.epochs=3]"
    assert tuned[0].training["epochs"] == 3
    assert tuned[-1].training["epochs"] == plain[-1].training["epochs"]


def test_a_method_s_own_table_may_hold_common_settings(data: str) -> None:
    plan = planned(data, "joint", "multi-loss", set={"optimizer.lr": ["0.1"], "joint.optimizer.lr": ["0.2"]})
    assert {r.method: r.training["optimizer.lr"] for r in plan.runs} == {"joint": 0.2, "multi-loss": 0.1}
    assert {r.label for r in plan.runs} == {
        "joint [optimizer.lr=0.1 joint.optimizer.lr=0.2]",
        "multi-loss [optimizer.lr=0.1]",
    }


def test_one_modality_s_encoder_can_be_set(data: str) -> None:
    run = only(planned(data, "joint", set={"encoder.b.depth": ["4"], "encoder.depth": ["1"]}))
    assert {m: e["depth"] for m, e in run.encoders.items()} == {"a": 1, "b": 4, "c": 1}
    plan = planned(data, "unimodal", set={"encoder.b.width": ["8", "16"]})
    assert [r.label for r in plan.runs] == [
        "unimodal (a)",
        "unimodal (b) [encoder.b.width=8]",
        "unimodal (c)",
        "unimodal (b) [encoder.b.width=16]",
    ]
    assert planned(data, "unimodal", modalities=("a",), set={"encoder.b.width": ["8"]}).runs[0].label == "unimodal (a)"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("epoch", "5", "Did you mean epochs"),
        ("epochs", "few", r"epochs=few: not allowed. Allowed: whole number >= 0"),
        ("mcr.strategy", "greedy", "method 'mcr' is not part of this command; its methods are joint"),
        ("encoder.d.width", "5", "unknown setting 'encoder.d.width'. Did you mean .*encoder.a.width"),
        ("dataset.train", "5", "unknown setting 'dataset.train'"),
        ("monitor", "mae", "unknown metric 'mae'"),
        ("encoder.kind", "conv1d", "encoder.kind=conv1d does not take samples of shape"),
        ("model.fusion", "film", "film joins exactly 2 modalities, got 3"),
    ],
)
def test_settings_that_do_not_fit_are_errors_of_the_plan(data: str, key: str, value: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        planned(data, "joint", set={key: [value]})


def test_settings_of_a_run_that_another_setting_adds_are_allowed(data: str) -> None:
    values = {"mcr.start": ["unimodal"], "unimodal.epochs": ["3"]}
    assert [r.method for r in planned(data, "mcr", set=values).runs] == ["unimodal"] * 3 + ["mcr"]
    with pytest.raises(UserError, match="method 'unimodal' is not part of this command"):
        planned(data, "mcr", set={"unimodal.epochs": ["3"]})


@pytest.mark.parametrize(
    ("needs", "modalities", "values", "reason"),
    [
        (Needs(at_least=3), ("a", "b"), {}, "needs at least 3 modalities, not 2"),
        (Needs(at_most=2), None, {}, "takes at most 2 modalities, not 3"),
        (Needs(additive_fusion=True), None, {"model.fusion": ["gated"]}, "needs an additive fusion head"),
        (Needs(additive_fusion=True), ("a", "b"), {"model.fusion": ["film"]}, "needs an additive fusion head"),
        (Needs(additive_fusion=True), None, {"mine.model.fusion": ["concat-mlp"]}, "needs an additive fusion head"),
    ],
)
def test_what_cannot_run_is_left_out_with_its_reason(
    data: str,
    monkeypatch: pytest.MonkeyPatch,
    mine: type[Mine],
    needs: Needs,
    modalities: tuple[str, ...] | None,
    values: dict[str, list[str]],
    reason: str,
) -> None:
    assert planned(data, "mine", "joint").skipped == []
    monkeypatch.setattr(mine, "needs", needs)
    plan = planned(data, "mine", "joint", modalities=modalities, set=values)
    ((dataset, method, why),) = plan.skipped
    assert (dataset, method) == ("small.npz", "mine")
    assert why.startswith(reason)
    assert {r.method for r in plan.runs} == {"joint"}
    with pytest.raises(UserError, match=f"nothing to run: mine on small.npz: {reason}"):
        planned(data, "mine", modalities=modalities, set=values)


def test_a_method_for_classes_is_left_out_of_a_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: type[Mine]
) -> None:
    data = save(tmp_path / "scores.npz", regression=True)
    assert {r.method for r in planned(data, "mine", "joint").runs} == {"mine", "joint"}
    monkeypatch.setattr(mine, "needs", Needs(classification=True))
    plan = planned(data, "mine", "joint", set={"epochs": ["1", "2"]})
    assert plan.skipped == [("scores.npz", "mine", "is defined for classification only")]
    assert {r.training["monitor"] for r in plan.runs} == {"mae"}


def test_a_method_may_refuse_data_itself(data: str, monkeypatch: pytest.MonkeyPatch, mine: type[Mine]) -> None:
    monkeypatch.setattr(mine, "skip", lambda _self, facts: f"does not like {len(facts.modalities)}")
    assert planned(data, "mine", "joint").skipped == [("small.npz", "mine", "does not like 3")]


def folded(monkeypatch: pytest.MonkeyPatch, pairs: tuple[tuple[int, int], ...] = (), seeds: int = 4) -> None:
    monkeypatch.setattr(registry.dataset("arrays"), "protocols", lambda _self: {"three": FOLDS})
    preset = Preset("paper", "paper", seeds, {}, pairs)
    monkeypatch.setattr(planning, "preset_of", lambda _cls, _name: preset)


def repetitions(plan: Plan) -> list[tuple[int, int]]:
    return [(r.seed, r.fold) for r in plan.runs]


def test_the_fold_of_a_seed_is_its_remainder(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folded(monkeypatch)
    assert repetitions(planned(data, "joint", seeds=(0, 1, 2, 3, 7))) == [(0, 1), (1, 2), (2, 3), (3, 1), (7, 2)]
    assert repetitions(planned(data, "joint", seeds=None)) == [(0, 1), (1, 2), (2, 3), (3, 1)]


def test_a_fold_may_be_fixed(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folded(monkeypatch, pairs=((109, 1), (19, 2)))
    assert repetitions(planned(data, "joint", seeds=(0, 5), fold=3)) == [(0, 3), (5, 3)]
    assert repetitions(planned(data, "joint", seeds=None, fold=2)) == [(0, 2), (1, 2), (2, 2), (3, 2)]
    with pytest.raises(UserError, match=r"--fold 4: protocol 'three' of small.npz has folds \[1, 2, 3\]"):
        planned(data, "joint", fold=4)


def test_a_preset_may_pair_seeds_and_folds(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folded(monkeypatch, pairs=((109, 1), (19, 2), (337, 3)))
    assert repetitions(planned(data, "joint", seeds=None)) == [(109, 1), (19, 2), (337, 3)]
    assert repetitions(planned(data, "joint", seeds=(1,))) == [(1, 2)]


def test_unbalanced_folds_and_few_seeds_are_announced(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folded(monkeypatch)
    assert planned(data, "joint", seeds=range(7), set={"epochs": ["1", "2"]}).announcements == [
        "small.npz: 7 seeds over 3 folds are unbalanced: runs per fold [3, 2, 2]."
    ]
    assert planned(data, "joint", seeds=range(6)).announcements == []
    assert planned(data, "joint", seeds=range(7), fold=1).announcements == []
    (line,) = planned(data, "joint", seeds=range(3)).announcements
    assert "3 seeds cannot show a difference at p < .05" in line
    assert "p = 0.25 at best" in line  # 2 of the 2^3 sign patterns


def test_what_is_known_of_the_data_is_announced(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = registry.dataset("arrays")
    facts = arrays.facts

    def noted(self: object) -> Facts:
        return dataclasses.replace(facts(self), notes={"classes_absent_from_train": 1, "quarantined": 0})  # type: ignore[arg-type]

    monkeypatch.setattr(arrays, "facts", noted)
    lines = planned(data, "joint", "ensemble", seeds=range(6)).announcements
    assert lines == ["small.npz: classes absent from train: 1."]


def test_several_data_sets_in_one_plan(data: str, tmp_path: Path) -> None:
    other = save(tmp_path / "other.npz", classes=(0, 1))
    plan = make_plan(Request(["joint", "ensemble"], [data, other], seeds=[0]))
    assert [r.dataset for r in plan.runs] == ["small.npz"] * 5 + ["other.npz"] * 5
    assert len({r.data_identity for r in plan.runs}) == 2


def test_methods_are_planned_once_in_the_order_given(data: str) -> None:
    assert [r.method for r in planned(data, "multi-loss", "joint", "multi-loss").runs] == ["multi-loss", "joint"]
    assert {r.method for r in planned(data, "all").runs} == set(registry.method_names())


def test_two_methods_of_one_name_are_an_error(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "method", lambda _name: Mine)
    with pytest.raises(UserError, match=r"--methods: x/mine.py, y/mine.py are all called 'mine'"):
        planned(data, "x/mine.py", "y/mine.py")


def test_a_method_from_a_file_is_set_by_its_name(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_from_files", set())
    source = Path(__file__).with_name("test_registry.py").read_text().split("METHOD = '''")[1].split("'''")[0]
    (tmp_path / "mine.py").write_text(source)
    path = str(tmp_path / "mine.py")
    plan = planned(data, "joint", path, set={"mine.alpha": ["0", "0.25"], "mine.epochs": ["2"]})
    assert [r.settings["alpha"] for r in plan.runs if r.method == "mine"] == [0.0, 0.25]
    assert [r.training["epochs"] for r in plan.runs if r.method == "mine"] == [2, 2]
    assert plan.runs[1].source == path
    assert keys(planned(data, "joint")) == [plan.runs[0].key]
    with pytest.raises(UserError, match=r"mine.alpha=-1: not allowed. Allowed: number >= 0"):
        planned(data, path, set={"mine.alpha": ["-1"]})
    with pytest.raises(UserError, match=r"unknown setting 'mine.alhpa'. Did you mean mine.alpha"):
        planned(data, path, set={"mine.alhpa": ["1"]})
    with pytest.raises(UserError, match="method 'mine' is not part of this command"):
        planned(data, "joint", set={"mine.alpha": ["1"]})


def test_params_and_tags_are_flat_text(data: str) -> None:
    run = planned(data, "mcr", set={"mcr.start": ["unimodal"]}).runs[-1]
    params, tags = run.params(), run.tags()
    assert (params["mcr.start"], params["epochs"], params["encoder.b.kind"]) == ("unimodal", "50", "mlp")
    assert (params["model.fusion"], params["dataset.allow_group_overlap"]) == ("late-linear", "False")
    assert tags["dependencies"].split(",") == [d.key for d in run.dependencies]
    assert (tags["key"], tags["modalities"], tags["overrides"]) == (run.key, "a,b,c", "mcr.start=unimodal")
    assert all(isinstance(v, str) for v in (*params.values(), *tags.values()))


def test_chains_of_dependencies_are_unrolled(data: str, monkeypatch: pytest.MonkeyPatch, mine: type[Mine]) -> None:
    monkeypatch.setattr(mine, "requires", lambda _self, modalities: [Requirement("ensemble", modalities)])
    assert [r.method for r in planned(data, "mine").runs] == ["unimodal"] * 3 + ["ensemble", "mine"]
