"""Sweeps over settings: their order, their figure, and the table of what each method loses along one."""

from dataclasses import replace

import numpy as np
import pytest

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.sweeps import sweep_table, sweeps
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.figures.sweep import sweep_figure
from mcr_bench.tests.support.records.figure_rows import compared, line, look, words


def swept(**dials: str) -> Comparison:
    params = {f"dataset.{name}": value for name, value in dials.items()} | {"dataset.train": "100"}
    more = {"params": params, "metrics": {"data/bayes_accuracy": 0.9}}
    single = line("unimodal (audio)", [0.1], "unimodal", modalities=("audio",), metrics={"data/bayes_accuracy": 0.2})
    return compared(single, line("a", [0.5, 0.6], **more), line("b", [0.6, 0.7], **more))


def test_a_sweep_over_one_number_is_to_scale() -> None:
    found = [swept(noise=value) for value in ("0.4", "0.1", "0.2")]
    (sweep,) = sweeps(found)
    assert (sweep.places, sweep.ticks, sweep.name) == ([0.1, 0.2, 0.4], ["0.1", "0.2", "0.4"], "noise")
    (uneven,) = sweeps([swept(noise=value) for value in ("1", "30", "3")])
    assert (uneven.places, uneven.ticks) == ([0, 1, 2], ["1", "3", "30"])


def test_a_sweep_of_dials_together_is_ordered_by_the_last() -> None:
    found = [swept(shared="0.45", unique="0.45/0.1"), swept(shared="0.9", unique="0/0.1")]
    (sweep,) = sweeps(found)
    assert (sweep.ticks, sweep.name) == (["0.9\n0/0.1", "0.45\n0.45/0.1"], "shared · unique")
    figure = sweep_figure(sweep, look(*found))
    dashed = figure.axes[0].lines[-1]
    assert np.asarray(dashed.get_ydata()).tolist() == [90, 90], "of the runs that see every modality"
    assert "unimodal (audio)" not in words(figure)


def test_level_and_fall_along_a_sweep_by_hand() -> None:
    def at(noise: str, base: list[float], other: list[float]) -> Comparison:
        params = {"params": {"dataset.noise": noise}}
        return compared(line("base", base, **params), line("other", other, **params))

    easy, hard = at("1", [0.9, 0.8, 0.9], [0.9, 0.9, 0.8]), at("2", [0.6, 0.7, 0.6], [0.8, 0.8, 0.6])
    table = sweep_table(sweeps([hard, easy])[0], "base")
    rows = {str(cells[0]): dict(zip(table.columns, cells, strict=True)) for cells in table.rows}
    assert list(rows) == ["other", "base"]
    assert (rows["base"]["1"], rows["base"]["2"]) == (pytest.approx(260 / 3), pytest.approx(190 / 3))
    assert rows["base"]["fall"] == pytest.approx(70 / 3)
    assert rows["base"]["fall − base"] is None
    # falls of base 30, 10, 30 and of other 10, 10, 20: differences -20, 0, -10, standard error 10 / sqrt(3)
    assert rows["other"]["fall − base"] == pytest.approx(-10)
    assert rows["other"]["fall low"] == pytest.approx(-10 - 4.302653 * 10 / 3**0.5)
    # levels of base 75, 75, 75 and of other 85, 85, 70
    assert rows["other"]["level − base"] == pytest.approx(5)
    assert rows["other"]["n"] == 3
    assert sweep_table(sweeps([hard, easy])[0], "nothing").rows[0][4] is None


def test_presets_are_sweeps_of_their_own() -> None:
    found = [replace(swept(noise=noise), preset=preset) for preset in ("p", "tuned") for noise in ("1", "2")]
    assert [sweep.title.rpartition(" · ")[2] for sweep in sweeps(found)] == ["preset p", "preset tuned"]


def test_differences_over_folds_that_share_training_data_carry_the_correction() -> None:
    def at(noise: str) -> Comparison:
        more = {"params": {"dataset.noise": noise}, "metrics": {"data/train_samples": 80.0, "data/test_samples": 20.0}}
        lines = (line("base", [0.5, 0.5, 0.5], **more), line("other", [0.6, 0.7, 0.8], **more))
        return compared(*([replace(run, fold=run.seed) for run in runs] for runs in lines))

    table = sweep_table(sweeps([at("1"), at("2")])[0], "base")
    row = dict(zip(table.columns, table.rows[0], strict=True))
    half = 4.302653 * 10 * (1 / 3 + 20 / 80) ** 0.5
    assert (row["level low"], row["level high"]) == (pytest.approx(20 - half), pytest.approx(20 + half))
    assert any("Nadeau-Bengio" in note for note in table.notes)


def test_a_sweep_needs_two_settings() -> None:
    found = [swept(shared="0.5", unique="0.25/0.1"), swept(shared="0.9", unique="0/0.1")]
    assert sweeps(found[:1]) == []
    assert sweeps([found[0], found[0]]) == [], "nothing varies"


def along(*at: tuple[str, dict[str, list[float]]], **settings: list[str]) -> Table:
    """The table of a sweep: the noise of each setting with the values of its lines, and settings that vary with it."""
    found = []
    for place, (noise, lines) in enumerate(at):
        params = {"dataset.noise": noise} | {key: own[place] for key, own in settings.items()}
        found.append(compared(*(line(label, values, params=params) for label, values in lines.items())))
    return sweep_table(sweeps(found)[0], "base")


def test_lines_and_runs_that_not_every_setting_has_are_named() -> None:
    table = along(
        ("1", {"base": [0.5, 0.5], "some": [0.6, 0.6], "longer": [0.4, 0.4, 0.1]}),
        ("2", {"base": [0.5, 0.5], "longer": [0.4, 0.4]}),
    )
    assert [row[0] for row in table.rows] == ["base", "longer"]
    assert table.rows[1][1] == pytest.approx(40)
    assert "left out: some: no finished runs at 2" in table.notes
    assert "left out: 1 run of longer whose (seed, fold) not every setting has" in table.notes
    assert not any("base" in note for note in table.notes if note.startswith("left out"))


def test_settings_that_vary_with_the_data_are_told_and_a_missing_baseline_too() -> None:
    at = (("1", {"other": [0.5, 0.5]}), ("2", {"other": [0.5, 0.5]}))
    (warning,) = [note for note in along(*at, epochs=["1", "8"]).notes if note.startswith("WARNING")]
    assert "epochs (1 at 1, 8 at 2) varies along the sweep too, so that level and fall of other" in warning
    told = along(*at, epochs=["8", "8"]).notes
    assert not any(note.startswith("WARNING") for note in told)
    assert "no differences: base does not have runs at every setting" in told


def test_where_lower_is_better_the_lowest_level_is_first_and_said_to_be_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcr_bench.bench.analysis.sweeps.LOWER_IS_BETTER", {"accuracy"})
    both = {"base": [0.9, 0.9], "lower": [0.4, 0.4]}
    table = along(("1", both), ("2", both))
    assert [row[0] for row in table.rows] == ["lower", "base"]
    assert "accuracy: lower is better" in table.notes
