"""The user's own presets: written whole, found beside the shipped ones, each file of data with its own."""

from pathlib import Path

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.presets import (
    Preset,
    preset_of,
    presets_of,
    user_file,
    user_labels,
    user_presets,
    write_user_preset,
)
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.report.cards import list_presets

VALUES = {
    "optimizer.lr": 0.1 + 0.2,
    "joint.optimizer.weight_decay": 1e-05,
    "epochs": 7,
    "mlb.alpha": 0.25,
    "dataset.nonlinear": True,
    "dataset.unique": "0.2/0.2",
    'encoder.a "quoted" \\ mödality\x7f.width': 3,
}
MINE = Preset("tuned@4:m1+m2", "tuned-here@4", 3, VALUES, ((109, 1), (19, 2)), 'a "note"', ("joint", "mlb"))


def test_what_is_written_is_read_again_exactly(tmp_path: Path) -> None:
    path = write_user_preset("synthetic", MINE, tmp_path)
    assert path == user_file("synthetic", tmp_path)
    assert user_presets("synthetic", tmp_path) == {MINE.name: MINE}


def test_writing_again_replaces_the_same_preset_only(tmp_path: Path) -> None:
    path = user_file("synthetic", tmp_path)
    path.parent.mkdir()
    path.write_text('[by-hand]\norigin = "tuned-here"\nencoder.width = 8\n[by-hand.optimizer]\nlr = 0.5\n')
    write_user_preset("synthetic", MINE, tmp_path)
    changed = Preset(MINE.name, MINE.origin, 5, {"epochs": 1})
    write_user_preset("synthetic", changed, tmp_path)
    found = user_presets("synthetic", tmp_path)
    assert found["by-hand"].values == {"encoder.width": 8, "optimizer.lr": 0.5}
    assert found[MINE.name] == changed
    assert list(found) == ["by-hand", MINE.name]
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".new"] == []


def test_they_stand_after_the_shipped_ones_whose_names_are_taken(tmp_path: Path) -> None:
    cls = registry.dataset("synthetic")
    shipped = list(presets_of(cls, None, tmp_path))
    write_user_preset("synthetic", MINE, tmp_path)
    assert list(presets_of(cls, None, tmp_path)) == [*shipped, MINE.name]
    assert preset_of(cls, None, None, tmp_path).name == shipped[0]
    write_user_preset("synthetic", Preset(shipped[0], "tuned-here", 1, {}), tmp_path)
    with pytest.raises(UserError, match=f"'{shipped[0]}'.*shipped"):
        presets_of(cls, None, tmp_path)


def test_each_file_of_data_has_its_own(tmp_path: Path) -> None:
    write_user_preset("mine.npz", MINE, tmp_path)
    cls = registry.dataset("mine.npz")
    assert MINE.name in presets_of(cls, "some/folder/mine.npz", tmp_path)
    assert MINE.name not in presets_of(cls, "other.npz", tmp_path)
    assert MINE.name not in presets_of(cls, None, tmp_path)
    assert user_labels(tmp_path) == ["mine.npz"]


def test_settings_of_a_method_that_this_command_does_not_know_are_left_out(tmp_path: Path) -> None:
    values = {"joint.optimizer.lr": 0.1, "only-in-a-file.alpha": 2.0, "epochs": 3}
    write_user_preset(
        "synthetic", Preset("p", "tuned-here@2", 1, values, methods=("joint", "only-in-a-file")), tmp_path
    )
    assert user_presets("synthetic", tmp_path)["p"].values == {"joint.optimizer.lr": 0.1, "epochs": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[open", "cannot be read"),
        ("epochs = 3", "table"),
        ("[p]", "origin"),
        ('[p]\norigin = "ours"\npairs = [[9223372036854775808, 1]]', "seed 9223372036854775808: too large"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = user_file("synthetic", tmp_path)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        presets_of(registry.dataset("synthetic"), None, tmp_path)
    assert path.name in str(raised.value)


def test_the_list_of_presets_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    write_user_preset("synthetic", MINE, tmp_path)
    write_user_preset("mine.npz", MINE, tmp_path)
    rows = [(row["dataset"], row["preset"]) for row in list_presets() if row["origin"] == MINE.origin]
    assert rows == [("synthetic", MINE.name), ("mine.npz", MINE.name)]
