"""Published numbers: the files fit their mappings, and a broken mapping is an error that names the entry."""

import csv
import os
import re
import tomllib
from pathlib import Path

import pytest

import mcr_bench
from mcr_bench.bench.analysis.published import numbers_of, published_tables_of
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.errors import UserError

FOLDER = Path(mcr_bench.__file__).parent / "results" / "published"
BESIDE = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")).parent
FIRST_SOURCES = {"balancebenchmark_2025": (276,), "mcr_neurips2025": (138,), "pmr_cvpr2023": (20, 24, 12)}
MORE_SOURCES = {
    "illusion_interspeech2026": (44, 12),
    "inforeg_cvpr2025": (36, 24, 12, 8, 10),
    "midas_neurips2025": (56, 20, 4, 16),
}
COUNTS = {**FIRST_SOURCES, **MORE_SOURCES}

HEADER = "source,arxiv_id,table,dataset,backbone,modalities,method,metric,mean,std,n_runs,url\n"
FIRST = "Paper,1.2,Table 1,Set,Net,A-V,Alpha,accuracy,50.5,1.0,3.0,u\n"
SECOND = "Paper,1.2,Table 1,Set,Net,A-V,Beta,accuracy,60,,,\n"
COLUMN = """
[[tables.columns]]
title = "Set Net"
dataset = "Set"
backbone = "Net"
modalities = ["A-V"]
metric = "accuracy"
ours = { dataset = "d", protocol = "p", preset = "q", metric = "accuracy", modalities = ["a", "v"] }
"""
TABLE = """
[[tables]]
name = "Table 1"
title = "Paper, Table 1"
"""
METHODS = """
[methods]
"Alpha" = { method = "joint", settings = ["model.fusion=film"] }
"Beta" = { not_offered = "no Beta here" }
"""
GOOD = "ddof = 0\n" + TABLE + COLUMN + METHODS


def source(folder: Path, mapping: str = GOOD, numbers: str = HEADER + FIRST + SECOND) -> Path:
    (folder / "paper.toml").write_text(mapping)
    (folder / "paper.csv").write_text(numbers)
    return folder


def lines(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize(("folder", "sources"), [("published", FIRST_SOURCES), ("published_more", MORE_SOURCES)])
def test_the_shipped_numbers_are_the_given_ones(folder: str, sources: dict[str, tuple[int, ...]]) -> None:
    if not (BESIDE / folder).is_dir():
        pytest.skip(f"MCR_BENCH_TEST_DATA has no folder `{folder}` beside it")
    given = sorted((BESIDE / folder).glob("*.csv"))
    assert [p.stem for p in given] == sorted(sources)
    for path in given:
        assert (FOLDER / path.name).read_bytes() == path.read_bytes()


def test_every_number_is_in_its_table_once() -> None:
    tables = published_tables_of()
    assert [len(t.numbers) for t in tables] == [count for name in sorted(COUNTS) for count in COUNTS[name]]
    kept = [
        (n.source, n.table, n.dataset, n.backbone, n.modalities, n.method, n.metric, n.mean, n.std)
        for table in tables
        for n in table.numbers.values()
    ]
    identity = ("source", "table", "dataset", "backbone", "modalities", "method", "metric")
    written = [
        (*(row[name] for name in identity), float(row["mean"]), float(row["std"]) if row["std"] else None)
        for name in COUNTS
        for row in lines(name)
    ]
    assert sorted(map(str, kept)) == sorted(map(str, written))


def test_each_number_stands_under_its_own_names() -> None:
    for table in published_tables_of():
        columns = {column.title: column for column in table.columns}
        for (method, title), number in table.numbers.items():
            column = columns[title]
            assert method == number.method
            assert (column.dataset, column.backbone, column.metric) == (number.dataset, number.backbone, number.metric)
            assert number.modalities in column.modalities


def test_the_paper_s_table_has_its_rows_and_ten_columns_in_order() -> None:
    (table,) = [table for table in published_tables_of() if table.title.startswith("MCR ")]
    titles = [column.title for column in table.columns]
    assert len(titles) == 10
    assert (titles[0], titles[-1]) == ("CREMA-D ResNet", "Something-Something Swin-TF")
    assert [m.title for m in table.methods] == list(dict.fromkeys(row["method"] for row in lines("mcr_neurips2025")))
    assert table.ddof == 0


def test_rows_keep_what_is_stated_and_nothing_else() -> None:
    stated, bare = numbers_of(HEADER + FIRST + SECOND)
    assert (stated.mean, stated.std, stated.n_runs) == (50.5, 1.0, 3)
    assert (bare.mean, bare.std, bare.n_runs) == (60.0, None, None)


def test_a_good_mapping_is_read(tmp_path: Path) -> None:
    (table,) = published_tables_of(source(tmp_path))
    assert (table.title, table.ddof) == ("Paper, Table 1", 0)
    assert [m.settings for m in table.methods] == [("model.fusion=film",), ()]
    assert table.columns[0].ours is not None
    assert table.columns[0].ours.modalities == ("a", "v")


TWICE = COLUMN.replace('"Set Net"', '"Again"')
BROKEN = {
    "unknown top key": ("colour = 1\n" + GOOD, "'colour'"),
    "unknown table key": (GOOD.replace('title = "Paper', 'titel = "Paper', 1), "'titel'. Did you mean title"),
    "unknown column key": (GOOD.replace("backbone =", "backbnoe ="), "'backbnoe'. Did you mean backbone"),
    "unknown key of ours": (GOOD.replace("preset =", "prest ="), "'prest'. Did you mean preset"),
    "unknown method key": (GOOD.replace("not_offered", "notoffered"), "'notoffered'. Did you mean not_offered"),
    "missing key of ours": (GOOD.replace('protocol = "p", ', ""), "column 'Set Net', ours: key 'protocol' is missing"),
    "missing column key": (GOOD.replace('backbone = "Net"\n', ""), "key 'backbone' is missing"),
    "column without ours": (GOOD.replace("ours =", "# ours ="), "needs either `ours` or the reason `not_offered`"),
    "method without either": (GOOD.replace('not_offered = "no Beta here"', ""), "needs either `method`"),
    "method with both": (GOOD.replace("{ not_offered", '{ method = "x", not_offered'), "needs either `method`"),
    "unmapped method": (GOOD.replace('"Beta" =', "# "), "method 'Beta' is published but not mapped"),
    "stale method": (GOOD + '"Gamma" = { method = "g" }\n', "method 'Gamma' is mapped but not published"),
    "unmapped column": (GOOD.replace('backbone = "Net"', 'backbone = "Other"'), "no column maps Set / Net"),
    "column twice": (GOOD.replace(METHODS, TWICE + METHODS), "is mapped twice: 'Set Net', 'Again'"),
    "stale column": (
        GOOD.replace(METHODS, TWICE.replace('"Net"', '"Gone"') + METHODS),
        "column 'Again' is mapped but not published",
    ),
    "same title": (
        GOOD.replace(METHODS, COLUMN.replace('"Net"', '"Gone"') + METHODS),
        "column 'Set Net' is mapped twice",
    ),
    "unmapped table": (GOOD.replace("Table 1", "Table 2"), "table 'Table 1' is published but not mapped"),
    "method twice": (GOOD + '"Alpha" = { method = "joint" }\n', "is not valid TOML"),
    "table twice": (GOOD.replace(METHODS, TABLE + COLUMN + METHODS), "table 'Table 1' is mapped twice"),
}


@pytest.mark.parametrize(("mapping", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_mapping_is_an_error_that_names_the_entry(tmp_path: Path, mapping: str, message: str) -> None:
    with pytest.raises(UserError, match=r"paper\.toml") as error:
        published_tables_of(source(tmp_path, mapping))
    assert message in str(error.value)


def test_two_numbers_in_one_cell_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"two numbers fall into the cell \('Alpha', 'Set Net'\)"):
        published_tables_of(source(tmp_path, GOOD, HEADER + FIRST + SECOND + FIRST))


@pytest.mark.parametrize("missing", ["paper.toml", "paper.csv"])
def test_numbers_and_mapping_come_in_pairs(tmp_path: Path, missing: str) -> None:
    (source(tmp_path) / missing).unlink()
    with pytest.raises(UserError, match=f"'{missing}' is missing"):
        published_tables_of(tmp_path)


def plain_name(text: str) -> str:
    """Letters and digits, in lower case, so that "D&R" and "d-r" are one name."""
    return "".join(c for c in text.lower() if c.isalnum())


def wrong_names(mapping: str, registered: list[str]) -> list[str]:
    """The entries of a mapping that name a method we do not have, or deny one that we have."""
    names, wrong = {plain_name(name) for name in registered}, []
    for title, entry in tomllib.loads(mapping)["methods"].items():
        if "method" in entry:
            if entry["method"] not in registered:
                wrong.append(title)
            continue
        denied = re.search(r"no method (\S+)", entry["not_offered"])
        if plain_name(title) in names or (denied and plain_name(denied[1]) in names):
            wrong.append(title)
    return wrong


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_method_is_registered_and_none_that_is_registered_is_denied(name: str) -> None:
    assert wrong_names((FOLDER / f"{name}.toml").read_text(encoding="utf-8"), registry.method_names()) == []


def denied_datasets(mapping: str, registered: list[str]) -> list[str]:
    """The columns of a mapping that deny an adapter that we have."""
    names = [plain_name(name) for name in registered]
    columns = [column for table in tomllib.loads(mapping)["tables"] for column in table["columns"]]
    denied = {c["title"]: re.search(r"no adapter for (.+?) here", c.get("not_offered", "")) for c in columns}
    return [title for title, said in denied.items() if said and any(n in plain_name(said[1]) for n in names)]


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_no_dataset_that_is_registered_is_denied(name: str) -> None:
    assert denied_datasets((FOLDER / f"{name}.toml").read_text(encoding="utf-8"), registry.dataset_names()) == []


def test_a_denied_dataset_would_be_seen() -> None:
    denying = "\n".join(
        f'[[tables.columns]]\ntitle = "{name}"\nnot_offered = "no adapter for {name} here"'
        for name in ("Kinetics-Sounds", "UPMC Food-101", "Other")
    )
    mapping = f'[[tables]]\nname = "Table 1"\n{denying}'
    assert denied_datasets(mapping, ["kinetics-sounds", "food101", "arrays"]) == ["Kinetics-Sounds", "UPMC Food-101"]


def test_a_wrong_name_would_be_seen() -> None:
    mapping = """
    [methods]
    "A" = { method = "joint" }
    "B" = { method = "unheard-of" }
    "C" = { not_offered = "no method Multi-Loss here" }
    "OGM" = { not_offered = "not here" }
    "E" = { not_offered = "no method E here" }
    """
    assert wrong_names(mapping, ["joint", "multi-loss", "ogm"]) == ["B", "C", "OGM"]
