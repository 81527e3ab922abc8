"""Our runs beside a published number: which of them fit, the verdict, and why there is none."""

from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from mcr_bench.bench.analysis.published import published_tables_of
from mcr_bench.bench.analysis.published_match import Answer, Runs, answers, sample_sd
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.bench.statistics.verdict import verdict
from mcr_bench.tests.support.records import published_paper
from mcr_bench.tests.support.records.published_paper import COMMAND, NEAR, run, runs

folder = published_paper.folder  # a fixture


def ask(folder: Path, rows: list[Any], method: str = "Joint", column: str = "Set Net", margin: float = 2.0) -> Answer:
    (table,) = published_tables_of(folder)
    return answers(table, Runs(rows), margin)[method, column]


@pytest.mark.parametrize(
    ("points", "word"),
    [
        (NEAR, "reproduced"),
        (tuple(p - 9 for p in NEAR), "lower"),
        (tuple(p + 9 for p in NEAR), "higher"),
        ((40.0, 62.0, 84.0), "inconclusive"),
        ((62.0,), "inconclusive"),
    ],
)
def test_runs_that_fit_get_a_verdict(folder: Path, points: tuple[float, ...], word: str) -> None:
    answer = ask(folder, runs(*points))
    assert answer.word == word
    assert answer.values == pytest.approx(points)
    assert (answer.command, answer.reasons) == ("", ())


def test_a_verdict_over_folds_counts_their_shared_training_data(folder: Path) -> None:
    sizes = {"data/train_samples": 80.0, "data/test_samples": 20.0}

    values = (61.0, 62.0, 63.0)
    found = [run(v / 100, s, fold=s, metrics=sizes) for s, v in enumerate(values)]
    answer, (table,) = ask(folder, found), published_tables_of(folder)
    number = table.numbers["Joint", "Set Net"]
    spread = sample_sd(number, table.ddof)
    apart, judged = (verdict(values, number.mean, spread, number.n_runs, overlap=o) for o in (None, 20 / 80))
    assert answer.delta_interval is not None
    assert answer.delta_interval.margin == pytest.approx(judged.interval.margin)
    assert answer.delta_interval.margin > 1.2 * apart.interval.margin


def test_interval_and_difference_by_the_closed_form(folder: Path) -> None:
    answer = ask(folder, runs(60.0, 62.0, 64.0, 70.0))
    # Ours: mean 64, squares 16 + 4 + 0 + 36 = 56 over 3. Published: variance .09 = .27 / 3, hence .27 / 2.
    own, theirs = 56 / 3 / 4, 0.27 / 2 / 3
    assert answer.interval is not None
    half = stats.t.ppf(0.975, 3) * sqrt(own)
    assert (answer.interval.low, answer.interval.high) == pytest.approx((64 - half, 64 + half))
    df = (own + theirs) ** 2 / (own**2 / 3 + theirs**2 / 2)
    half = stats.t.ppf(0.975, df) * sqrt(own + theirs)
    assert answer.delta_interval is not None
    assert answer.delta == pytest.approx(2)
    assert (answer.delta_interval.low, answer.delta_interval.high) == pytest.approx((2 - half, 2 + half))


def test_the_margin_decides(folder: Path) -> None:
    assert ask(folder, runs(*NEAR), margin=0.5).word == "inconclusive"
    with pytest.raises(UserError, match="positive number of points"):
        published_tables([], margin=0, folder=folder)


def test_population_std_becomes_the_sample_s(folder: Path) -> None:
    (table,) = published_tables_of(folder)
    number = table.numbers["Joint", "Set Net"]
    assert sample_sd(number, 0) == pytest.approx(sqrt(0.27 / 2))
    assert sample_sd(number, 1) == pytest.approx(0.3)
    assert sample_sd(number, None) is None
    assert sample_sd(table.numbers["FiLM", "Set Net"], 0) is None  # none is stated
    assert sample_sd(table.numbers["Audio", "Set Net"], 0) is None  # of one run


def test_no_runs_means_not_run_with_the_command(folder: Path) -> None:
    assert (ask(folder, []).word, ask(folder, []).command) == ("not run", COMMAND)
    film = ask(folder, [], "FiLM")
    assert (film.word, film.command) == ("not run", f"{COMMAND} --set model.fusion=film")
    few = ask(folder, [], column="Set Net F1")
    assert few.command == f"{COMMAND} --modalities audio,video --seeds 3"


@pytest.mark.parametrize("status", ["failed", "killed", "running"])
def test_unfinished_runs_do_not_count(folder: Path, status: str) -> None:
    assert ask(folder, runs(*NEAR, status=status)).word == "not run"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": "own"}, "our runs are on protocol own; published: protocol official"),
        ({"preset": "small"}, "our runs are on preset small; published: preset paper"),
        ({"modalities": "audio,text"}, "our runs are on modalities audio + text; published: modalities audio + video"),
        ({"tags": {"overrides": "epochs=3"}}, "our runs are on settings epochs=3; published: settings none"),
        (
            {"protocol": "own", "preset": "small"},
            "our runs are on protocol own, preset small; published: protocol official, preset paper",
        ),
    ],
)
def test_runs_in_another_place_are_not_comparable(folder: Path, changes: dict[str, Any], reason: str) -> None:
    answer = ask(folder, runs(*NEAR, **changes))
    assert (answer.word, answer.reasons, answer.values) == ("not comparable", (reason,), ())
    assert answer.command == COMMAND
    both = ask(folder, runs(*NEAR, **changes) + runs(*NEAR))
    assert (both.word, len(both.values)) == ("reproduced", len(NEAR))


def test_the_nearest_of_several_places_is_named(folder: Path) -> None:
    rows = runs(*NEAR, protocol="own", preset="small") + runs(*NEAR, preset="small")
    assert ask(folder, rows).reasons == ("our runs are on preset small; published: preset paper",)


def test_another_dataset_or_method_is_no_run_at_all(folder: Path) -> None:
    assert ask(folder, runs(*NEAR, dataset="toy") + runs(*NEAR, method="ensemble")).word == "not run"


def test_the_settings_of_a_method_choose_its_runs(folder: Path) -> None:
    rows = runs(*NEAR) + runs(70.0, 71.0, 72.0, tags={"overrides": "model.fusion=film"})
    assert ask(folder, rows, "FiLM").values == pytest.approx((70.0, 71.0, 72.0))
    assert ask(folder, rows, "Joint").values == pytest.approx(NEAR)


def test_a_unimodal_number_stands_beside_runs_of_its_modality(folder: Path) -> None:
    rows = runs(50.0, 51.0, method="unimodal", modalities="audio") + runs(9.0, method="unimodal", modalities="video")
    assert ask(folder, rows, "Audio").values == pytest.approx((50.0, 51.0))


def test_only_the_newest_configuration_counts(folder: Path) -> None:
    old = runs(10.0, 11.0, 12.0, tags={"config": "old"})
    new = [run(0.62, seed, started=100.0 + seed) for seed in range(2)]
    again = [run(0.64, 1, started=200.0)]
    assert ask(folder, new + again + old).values == pytest.approx((62.0, 64.0))


def test_a_metric_that_was_not_recorded_is_said(folder: Path) -> None:
    answer = ask(folder, runs(*NEAR), column="Set Net F1")
    assert (answer.word, answer.reasons) == ("not comparable", ("our runs record no macro_f1",))
    recorded = [run(0.1, seed, metrics={"test/macro_f1": 0.61 + seed / 1000}) for seed in range(4)]
    assert ask(folder, recorded, column="Set Net F1").word == "reproduced"


def test_declared_reasons_win_over_a_verdict_and_still_show_ours(folder: Path) -> None:
    answer = ask(folder, runs(*NEAR), column="Set Big")
    assert (answer.word, answer.reasons, answer.delta) == ("not comparable", ("another backbone",), None)
    assert answer.values == pytest.approx(NEAR)
    assert ask(folder, [], column="Set Big").word == "not comparable"


def test_not_offered_says_what_is_missing(folder: Path) -> None:
    later = ask(folder, runs(*NEAR), "Later")
    assert (later.word, later.reasons, later.command) == ("not offered", ("no method 'later' here",), "")
    assert ask(folder, [], column="Lost").reasons == ("no dataset 'lost' here",)


def test_a_method_added_later_becomes_offered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "method_names", lambda: ["joint", "later", "unimodal"])
    assert ask(folder, [], "Later").word == "not run"


def test_a_preset_that_is_not_there_is_not_offered(folder: Path) -> None:
    (folder.parent / "third_party_elsewhere.toml").write_text('[other]\norigin = "paper"\n')
    assert ask(folder, []).reasons == ("dataset 'elsewhere' has no preset 'paper' here",)
