"""Published numbers beside our runs as tables: wide and long, their notes, and the tables that are shipped."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import mcr_bench
from mcr_bench.bench.analysis import published_match
from mcr_bench.bench.analysis.published import published_tables_of
from mcr_bench.bench.analysis.published_match import Runs, answers
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.report.export import latex, markdown, to_csv
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.tests.support.records import published_paper
from mcr_bench.tests.support.records.published_paper import COMMAND, NEAR, NUMBERS, run, runs

folder = published_paper.folder  # a fixture
WORDS = {"reproduced", "lower", "higher", "inconclusive", "not comparable", "not run", "not offered"}


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
        assert len(set(table.notes)) == len(table.notes)
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
    (paper,) = [table for table in tables if table.title.startswith("MCR ")]
    given = answers(paper, Runs([]), 2.0)
    filled = given["MCR", "CREMA-D ResNet"]
    command = "mcr-bench run --methods mcr --dataset cremad --protocol vavl --preset paper"
    assert (filled.word, filled.command) == ("not run", command)
    assert {given["MCR", f"{name} {kept}"].word for name in ("MOSI", "MOSEI") for kept in ("V-T", "V-T-A")} == {
        "not run"
    }
    assert {a.word for (_, column), a in given.items() if column == "AVE ResNet"} <= {"not run", "not offered"}
    others = [a for t in tables if t is not paper for a in answers(t, Runs([]), 2.0).values()]
    assert {a.word for a in others} == {"not comparable", "not offered"}


def offered_lines() -> list[str]:
    """The lines of the table in docs/published.md: of each source its numbers, and what comes of them."""
    counts: dict[str, Counter[str]] = {}
    for table in published_tables_of():
        for place, answer in answers(table, Runs([]), 2.0).items():
            counts.setdefault(table.numbers[place].source, Counter())[answer.word] += 1
    counts["together"] = sum(counts.values(), Counter())
    words = ("not run", "not comparable", "not offered")
    return [f"| {s} | {c.total()} | {' | '.join(str(c[word]) for word in words)} |" for s, c in counts.items()]


def test_the_page_says_how_much_is_offered() -> None:
    page = (Path(mcr_bench.__file__).parent / "docs/published.md").read_text(encoding="utf-8")
    lines = offered_lines()
    assert len(lines) == 7
    assert "\n".join(lines) in page, "\n".join(lines)


def test_mapped_metrics_modalities_and_settings_exist() -> None:
    from mcr_bench.bench.problem.metrics import CLASSIFICATION, REGRESSION
    from mcr_bench.bench.settings.declaration import declared
    from mcr_bench.bench.settings.training import ModelSettings, TrainingSettings

    metrics = {m.name for m in (*CLASSIFICATION, *REGRESSION)}
    common = {*declared(TrainingSettings), *(f"model.{k}" for k in declared(ModelSettings))}
    own = {f"{name}.{k}" for name in registry.method_names() for k in declared(registry.method(name))}
    for table in published_tables_of():
        places = [column.ours for column in table.columns if column.ours]
        for place in places:
            alone = {f"modality/{m}/{name}" for m in place.modalities for name in metrics}
            assert place.metric in metrics | alone
        settings = [text for owner in (*places, *table.methods) for text in owner.settings]
        assert {text.partition("=")[0] for text in settings} <= common | own


def test_a_metric_of_a_modality_alone_is_read_from_the_record(folder: Path) -> None:
    mapping = folder / "paper.toml"
    text = mapping.read_text(encoding="utf-8").replace('metric = "macro_f1"', 'metric = "modality/audio/accuracy"')
    mapping.write_text(text.replace(', subset = true, seeds = "3"', ""), encoding="utf-8")
    alone = {"test/modality/audio/accuracy": 0.5}
    wide, _ = published_tables([run(0.6, seed, metrics=alone) for seed in range(3)], folder=folder)
    assert str(column_of(wide, "Set Net F1")["Joint", "ours"]).startswith("50")


def test_a_table_without_a_spread_says_nothing_of_one(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        header, *lines = csv.reader(path.read_text(encoding="utf-8").splitlines())
        place = header.index("std")
        rows = [",".join([*line[:place], "", *line[place + 1 :]]) for line in lines]
        path.write_text("\n".join([",".join(header), *rows]), encoding="utf-8")
    wide, _ = published_tables([], folder=folder)
    notes = "\n".join(wide.notes)
    assert "±:" not in notes
    assert "the published value taken as exact" in notes


def test_no_published_number_stands_in_the_mapping_or_the_code() -> None:
    root = Path(mcr_bench.__file__).parent
    files = [*(root / "results/published").glob("*.toml"), *(root / "bench").rglob("published*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    means = {f"{number.mean:g}" for table in published_tables_of() for number in table.numbers.values()}
    assert len(files) == 9
    assert [mean for mean in means if "." in mean and mean in text] == []
