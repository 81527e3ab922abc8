"""The plan: what settings, folds and needs of methods make of it; what is left out and what is said before."""

import dataclasses
from pathlib import Path

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import Preset
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning import plan as planning
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.datasets.base import Facts, Protocol
from mcr_bench.methods.base import Needs
from mcr_bench.tests.support.runs.planned import Mine, keys, only, planned, register, save

FOLDS = Protocol("three", "made here", "validation", "accuracy", folds=(1, 2, 3))


pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> type[Mine]:
    register(monkeypatch, Mine)
    return Mine


def test_unknown_modalities_protocols_and_presets_name_the_known(data: str) -> None:
    with pytest.raises(UserError, match=r"unknown modality of small.npz 'd'.*Known: a, b, c"):
        planned(data, "joint", modalities=("a", "d"))
    with pytest.raises(UserError, match=r"unknown protocol of small.npz 'fil'. Did you mean file"):
        planned(data, "joint", protocol="fil")
    with pytest.raises(UserError, match=r"unknown preset of arrays 'defualt'. Did you mean default"):
        planned(data, "joint", preset="defualt")


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
    monkeypatch.setattr(planning, "preset_of", lambda *_: preset)


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


def test_pairs_of_a_request_stand_in_the_place_of_seeds_and_preset(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folded(monkeypatch, pairs=((109, 1), (19, 2)))
    assert repetitions(planned(data, "joint", seeds=None, pairs=[(5, 3), (6, 1)])) == [(5, 3), (6, 1)]
    with pytest.raises(UserError, match=r"--fold 4: protocol 'three' of small.npz has folds \[1, 2, 3\]"):
        planned(data, "joint", seeds=None, pairs=[(5, 3), (6, 4)])


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
        return dataclasses.replace(facts(self), notes=("one class is rare",))  # type: ignore[arg-type]

    monkeypatch.setattr(arrays, "facts", noted)
    lines = planned(data, "joint", "ensemble", seeds=range(6)).announcements
    assert lines == ["small.npz: one class is rare."]


def test_a_method_from_a_file_is_set_by_its_name(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_own", set())
    source = (
        (Path(__file__).parents[1] / "catalog/test_registry.py").read_text().split("METHOD = '''")[1].split("'''")[0]
    )
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
