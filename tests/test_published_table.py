"""Published numbers beside ours: which runs count, every verdict, and what the tables say of a cell without one."""

import sys
from importlib.metadata import EntryPoint
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import mcr_bench
from mcr_bench.bench import registry
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.report import published_match
from mcr_bench.bench.report.export import latex, markdown, to_csv
from mcr_bench.bench.report.published import published_tables_of
from mcr_bench.bench.report.published_match import Answer, Runs, answers, sample_sd
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.bench.report.table import Table
from mcr_bench.bench.statistics.verdict import verdict

WORDS = {"reproduced", "lower", "higher", "inconclusive", "not comparable", "not run", "not offered"}
ADAPTER = """
from mcr_bench.datasets.base import Dataset

class Elsewhere(Dataset):
    name = "elsewhere"
"""
NUMBERS = """source,arxiv_id,table,dataset,backbone,modalities,method,metric,mean,std,n_runs,url
Paper,1.2,Table 1,Set,Net,A-V,Joint,accuracy,62.0,0.3,3.0,u
Paper,1.2,Table 1,Set,Net,A-V,FiLM,accuracy,62,,,
Paper,1.2,Table 1,Set,Net,A,Audio,accuracy,50,0.5,1.0,
Paper,1.2,Table 1,Set,Net,A-V,Later,accuracy,70.25,,,
Paper,1.2,Table 1,Set,Big,A-V,Joint,accuracy,80,,,
Paper,1.2,Table 1,Set,Net,A-V,Joint,F1,61,,,
Paper,1.2,Table 1,Lost,Net,A-V,Joint,accuracy,11,,,
"""
MAPPING = """
ddof = 0
methods.Audio = { method = "unimodal", modality = 1 }
methods.Joint = { method = "joint" }
methods.FiLM = { method = "joint", settings = ["model.fusion=film"] }
methods.Later = { method = "later" }

[[tables]]
name = "Table 1"
title = "Paper, Table 1"
notes = ["a note of the mapping"]

[[tables.columns]]
title = "Set Net"
dataset = "Set"
backbone = "Net"
modalities = ["A-V", "A"]
metric = "accuracy"
ours = { dataset = "elsewhere", protocol = "official", preset = "paper", metric = "accuracy", modalities = ["audio", "video"] }

[[tables.columns]]
title = "Set Net F1"
dataset = "Set"
backbone = "Net"
modalities = ["A-V"]
metric = "F1"
ours = { dataset = "elsewhere", protocol = "official", preset = "paper", metric = "macro_f1", modalities = ["audio", "video"], subset = true, seeds = "3" }

[[tables.columns]]
title = "Set Big"
dataset = "Set"
backbone = "Big"
modalities = ["A-V"]
metric = "accuracy"
ours = { dataset = "elsewhere", protocol = "official", preset = "paper", metric = "accuracy", modalities = ["audio", "video"] }
not_comparable = "another backbone"

[[tables.columns]]
title = "Lost"
dataset = "Lost"
backbone = "Net"
modalities = ["A-V"]
metric = "accuracy"
ours = { dataset = "lost", protocol = "official", preset = "paper", metric = "accuracy", modalities = ["audio", "video"] }
"""  # noqa: E501
COMMAND = "mcr-bench run --methods joint --dataset elsewhere --protocol official --preset paper"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Published numbers of one paper, and a third party's dataset `elsewhere` with preset `paper`."""
    (tmp_path / "third_party_elsewhere.py").write_text(ADAPTER)
    (tmp_path / "third_party_elsewhere.toml").write_text('[paper]\norigin = "paper"\n')
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("elsewhere", "third_party_elsewhere:Elsewhere", "mcr_bench.datasets")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    monkeypatch.delitem(sys.modules, "third_party_elsewhere", raising=False)
    registry.dataset.cache_clear()
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "paper.csv").write_text(NUMBERS)
    (tmp_path / "numbers" / "paper.toml").write_text(MAPPING)
    return tmp_path / "numbers"


def run(value: float, seed: int = 0, method: str = "joint", modalities: str = "audio,video", **changes: Any) -> Any:
    tags = {"modalities": modalities, "config": "c", "overrides": ""} | changes.pop("tags", {})
    row = {"dataset": "elsewhere", "method": method, "protocol": "official", "preset": "paper", "seed": seed, "fold": 1}
    row |= {"status": "finished", "started": float(seed), "metrics": {"test/accuracy": value}, "tags": tags}
    return row | changes


def runs(*points: float, **changes: Any) -> list[Any]:
    return [run(value / 100, seed, **changes) for seed, value in enumerate(points)]


def ask(folder: Path, rows: list[Any], method: str = "Joint", column: str = "Set Net", margin: float = 2.0) -> Answer:
    (table,) = published_tables_of(folder)
    return answers(table, Runs(rows), margin)[method, column]


NEAR = (61.9, 62.1, 62.0, 61.8, 62.2, 62.0, 61.9, 62.1)


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
    found = [run(v / 100, s, fold=s) for s, v in enumerate(values)]
    for row in found:
        row["metrics"] |= sizes
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


def column_of(table: Table, title: str) -> dict[tuple[Any, Any], Any]:
    place = table.columns.index(title)
    return {(row[0], row[1]): row[place] for row in table.rows}


def test_the_wide_table_has_published_ours_and_verdict(folder: Path) -> None:
    wide, _ = published_tables(runs(60.0, 62.0, 64.0), folder=folder)
    cells = column_of(wide, "Set Net")
    assert cells["Joint", "published"] == "62.00 ± 0.3"
    assert cells["Joint", "ours"] == "62.00 [57.03, 66.97] n=3"  # 62 -+ 4.3027 x 2 / sqrt 3
    assert cells["Joint", "verdict"] == "inconclusive"
    assert cells["Later", "published"] == "70.25"
    assert ("Later", "ours") not in cells
    assert column_of(wide, "Lost")["Audio", "verdict"] is None
    assert [row[0] for row in wide.rows if row[1] == "published"] == ["Audio", "Joint", "FiLM", "Later"]


def test_notes_say_each_reason_and_command_once(folder: Path) -> None:
    wide, _ = published_tables(runs(*NEAR, tags={"overrides": "model.fusion=film"}), folder=folder)
    notes = "\n".join(wide.notes)
    assert "±: population standard deviation (ddof 0) over n = 1, 3 runs, as published" in notes
    assert "sqrt(n / (n - 1))" in notes
    assert "±2 points" in notes
    assert "a note of the mapping" in notes
    assert wide.notes.count("not offered: no method 'later' here (Later)") == 1
    assert wide.notes.count("not offered: no dataset 'lost' here (Lost)") == 1
    assert wide.notes.count("not comparable: another backbone (Set Big)") == 1
    assert notes.count("settings model.fusion=film; published: settings none (Set Net: Joint; Set Net F1: Joint)") == 1
    place = "--dataset elsewhere --protocol official --preset paper"
    assert wide.notes.count(f"to fill what has no runs: mcr-bench run --methods unimodal,joint {place}") == 1


def test_reasons_that_no_cell_can_say_yet_are_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: [])
    wide, _ = published_tables([], folder=folder)
    assert "not comparable, also once there are runs: another backbone (Set Big)" in wide.notes
    assert "not offered: no dataset 'elsewhere' here (Set Net, Set Net F1, Set Big)" in wide.notes


def test_the_long_table_has_a_line_per_number_with_all_fields(folder: Path) -> None:
    _, long = published_tables(runs(60.0, 62.0, 64.0), folder=folder)
    assert len(long.rows) == NUMBERS.count("Paper")
    filled, film, *_ = (dict(zip(long.columns, row, strict=True)) for row in long.rows)
    assert (filled["published"], filled["published std"], filled["published n"]) == (62.0, 0.3, 3)
    assert (filled["ours"], filled["n"], filled["verdict"]) == (pytest.approx(62.0), 3, "inconclusive")
    assert (filled["low"], filled["high"]) == (pytest.approx(57.03, abs=0.01), pytest.approx(66.97, abs=0.01))
    assert filled["difference"] == pytest.approx(0.0, abs=1e-9)
    assert filled["difference low"] == pytest.approx(-filled["difference high"])
    assert (filled["our dataset"], filled["our protocol"], filled["our preset"]) == ("elsewhere", "official", "paper")
    assert (film["verdict"], film["ours"], film["our settings"]) == ("not comparable", None, "model.fusion=film")
    assert film["command"] == f"{COMMAND} --set model.fusion=film"


def test_every_shipped_number_is_printed_without_any_run() -> None:
    tables = published_tables([])
    wide, long = tables[::2], tables[1::2]
    sources = published_tables_of()
    assert [t.title for t in wide] == [s.title for s in sources]
    for table, line, given in zip(wide, long, sources, strict=True):
        for (method, column), number in given.numbers.items():
            mean, _, std = str(column_of(table, column)[method, "published"]).partition(" ± ")
            assert (float(mean), float(std) if std else None) == (number.mean, number.std)
            assert column_of(table, column)[method, "verdict"] in WORDS
        assert len(line.rows) == len(given.numbers)
        assert all(row[line.columns.index("verdict")] in WORDS for row in line.rows)
        for text in (markdown(table), to_csv(table), latex(table), to_csv(line)):
            assert all(f"{number.mean:g}" in text for number in given.numbers.values())


def test_the_shipped_mapping_prints_its_commands_once_adapters_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = published_tables_of()
    places = [column.ours for table in tables for column in table.columns if column.ours]
    monkeypatch.setattr(registry, "dataset_names", lambda: [place.dataset for place in places])
    monkeypatch.setattr(registry, "dataset", lambda name: name)
    monkeypatch.setattr(published_match, "presets_of", lambda name: {p.preset for p in places if p.dataset == name})
    given = answers(tables[1], Runs([]), 2.0)
    filled = given["MCR", "CREMA-D ResNet"]
    command = "mcr-bench run --methods mcr --dataset cremad --protocol vavl --preset paper"
    assert (filled.word, filled.command) == ("not run", command)
    assert given["MCR", "MOSI V-T"].word == "not comparable"
    assert {a.word for (_, column), a in given.items() if column == "AVE ResNet"} <= {"not run", "not offered"}
    others = [a for t in (tables[0], *tables[2:]) for a in answers(t, Runs([]), 2.0).values()]
    assert {a.word for a in others} == {"not comparable", "not offered"}


def test_mapped_metrics_modalities_and_settings_exist() -> None:
    from mcr_bench.bench.metrics import CLASSIFICATION, REGRESSION
    from mcr_bench.bench.settings import declared
    from mcr_bench.bench.training_settings import ModelSettings, TrainingSettings

    metrics = {m.name for m in (*CLASSIFICATION, *REGRESSION)}
    keys = {*declared(TrainingSettings), *(f"model.{k}" for k in declared(ModelSettings))}
    for table in published_tables_of():
        places = [column.ours for column in table.columns if column.ours]
        assert {place.metric for place in places} <= metrics
        settings = [text for owner in (*places, *table.methods) for text in owner.settings]
        assert {text.partition("=")[0] for text in settings} <= keys


def test_no_published_number_stands_in_the_mapping_or_the_code() -> None:
    root = Path(mcr_bench.__file__).parent
    files = [*(root / "results/published").glob("*.toml"), *(root / "bench/report").glob("published*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    means = {f"{number.mean:g}" for table in published_tables_of() for number in table.numbers.values()}
    assert len(files) == 6
    assert [mean for mean in means if "." in mean and mean in text] == []
