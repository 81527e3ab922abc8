"""`data verify NAME --lists DIR`: split lists are audited without any recording; genuine lists."""

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.cli import app
from mcr_bench.tests.support.media import web_files as web
from mcr_bench.tests.support.media.ave_files import lists, write_lists
from mcr_bench.tests.support.media.cremad_files import IDS, rows_of
from mcr_bench.tests.support.media.pair_files import food

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
real = pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA is missing")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", "verify", *arguments])


def plain(text: str) -> str:
    return " ".join(text.split())


def test_lists_are_audited_without_recordings(tmp_path: Path) -> None:
    result = call("ave", "--lists", str(write_lists(tmp_path, lists())))
    text = plain(result.stdout)
    assert result.exit_code == 0
    assert "ave: 24 clips note: lists: audited alone: every listed clip counts, no recording was read" in text
    assert "fold 1: train 14, validation 5, test 5" in text
    assert "LEAK by group (video): 1 video is in train and validation, 1 in train and test" in text
    assert "contents are not compared: no sample was read" in text
    assert "by content" not in text
    assert "missing" not in text


def test_an_actor_in_both_lists_is_a_leak(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(rows_of(IDS[::2]))
    (tmp_path / "test.csv").write_text(rows_of(IDS[1::2]))
    seen = json.loads(call("cremad", "--lists", str(tmp_path), "--json").stdout)
    (ogm,) = [protocol for protocol in seen["protocols"] if protocol["name"] == "ogm"]
    leak = {tuple(leak["parts"]): leak["shared"] for leak in ogm["folds"][0]["leaks"]}
    assert leak[("train", "test")] == 7


def test_lists_of_web_videos(tmp_path: Path) -> None:
    (tmp_path / "KS_train_val.json").write_text(web.ks_json())
    assert "fold 1: train 12, validation 4, test 8" in call("kinetics-sounds", "--lists", str(tmp_path)).stdout


def test_lists_of_something_something(tmp_path: Path) -> None:
    rows = [{"id": str(n), "template": "Folding [something]"} for n in range(1, 15)]
    tables = {"labels": {"Folding something": "0"}, "train": rows[:10], "validation": rows[9:], "test": [{"id": "99"}]}
    for name, table in tables.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(table))
    text = plain(call("something-something", "--lists", str(tmp_path)).stdout)
    assert "something-something: 14 clips" in text
    assert "fold 1: train 8, validation 1, test 5" in text
    assert "10 is listed in train.json and validation.json; it is used for validation only" in text.replace(":", "")


def test_lists_of_food(tmp_path: Path) -> None:
    """The lists in MMBT's form, and both lists of titles beside them, whose pictures are the official parts."""
    raw, lists = food(tmp_path / "raw"), tmp_path / "lists"
    lists.mkdir()
    for path in raw.glob("*.jsonl"):
        (lists / path.name).write_bytes(path.read_bytes())
    text = plain(call("food101", "--lists", str(lists)).stdout)
    assert "food101: 36 clips" in text
    assert "mmbt-title" in text
    assert "fold 1: train 18, validation 6, test 12" in text
    assert "official-title" not in text
    for path in raw.glob("texts/*.csv"):
        (lists / path.name).write_bytes(path.read_bytes())
    both = plain(call("food101", "--lists", str(lists)).stdout)
    assert "official-title" in both
    assert "fold 1: train 21, validation 3, test 12" in both


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train_titles.csv": "tacos_1.jpg,x,tacos\n"}, "has no test_titles.csv beside the other list of titles."),
        (
            {"train_titles.csv": "tacos_1.jpg,x,tacos\n", "test_titles.csv": "tacos_1.jpg,y,tacos\n"},
            "test_titles.csv, picture 1: tacos_1 is already in train.",
        ),
        (
            {"train_titles.csv": "ramen_1.jpg,x,ramen\n", "test_titles.csv": "tacos_1.jpg,y,stew\n"},
            "test_titles.csv, picture 1: unknown class of UPMC Food-101 'stew'.",
        ),
        (
            {
                "train.jsonl": '{"id": "1", "text": "x", "img": "a/tacos_1.jpg", "label": "tacos"}',
                "dev.jsonl": "",
                "test.jsonl": "",
                "train_titles.csv": "tacos_1.jpg,x,ramen\n",
                "test_titles.csv": "ramen_1.jpg,x,ramen\n",
            },
            "tacos_1 is tacos in a list and ramen in another.",
        ),
    ],
)
def test_lists_of_food_that_are_wrong(change: dict[str, str], text: str, tmp_path: Path) -> None:
    for name, content in change.items():
        (tmp_path / name).write_text(content)
    result = call("food101", "--lists", str(tmp_path))
    assert result.exit_code == 2
    assert text in plain(result.stderr)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["ave", "--lists", "missing"], "--lists 'missing' is not a folder. Give the folder of the split lists."),
        (["ave", "--lists", ".", "--content"], "--lists reads no sample, and --content reads them all."),
        (["ave", "--lists", "."], "'.' has no trainSet.txt and no valSet.txt and no testSet.txt"),
        (["cremad", "--lists", "."], "'.' has none of the lists splits.json, train.csv and test.csv of CREMA-D."),
        (["ucf101", "--lists", "."], "'.' has no classInd.txt with trainlist0K.txt and testlist0K.txt of a fold."),
        (["utd-mhad", "--lists", "."], "dataset 'utd-mhad' has no split lists that can be audited alone."),
        (["something-something", "--lists", "."], "'.' has no labels.json and no train.json and no validation.json."),
        (["food101", "--lists", "."], "'.' has no train.jsonl, no dev.jsonl, no test.jsonl, no train_titles.csv, no "),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(
    arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert text in plain(result.stderr)


@real
@pytest.mark.parametrize(
    ("name", "folder", "texts"),
    [
        ("cremad", "cremad/ogm_ge", ["LEAK by group (actor): 91 of 91 groups (actors) are in train and validation"]),
        ("cremad", "cremad/vavl", ["cremad: 5,820 clips", "fold 1: train 4,043, validation 878, test 899"]),
        ("ave", "ave", ["LEAK by group (video): 10 videos are in train and validation, 8 in train and test"]),
        ("ucf101", "ucf101", ["fold 1: train 4,433, validation 468, test 1,944", "disjoint by id, by group"]),
    ],
)
def test_genuine_lists(name: str, folder: str, texts: list[str]) -> None:
    result = call(name, "--lists", str(REAL / folder))
    assert all(text in plain(result.stdout) for text in texts)
