"""`submit` and `verify-submission`: what holds is said, what was forged is said, and nothing is executed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.publish.said import NEVER
from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES
from mcr_bench.tests.support.records.homes import call
from mcr_bench.tests.support.records.moving import keys_in, rewrite, sealed
from mcr_bench.tests.support.records.submitted import Entries, repacked, run_in

HOSTILE = "x</script><script>alert(1)</script>\x1b[31m"
JOINT = "joint [dataset.train=30 dataset.val=20 dataset.test=20] on synthetic, seed 0, fold 1"


def test_a_submission_holds_and_what_nobody_can_prove_is_said(made: Path, ours: Path) -> None:
    told = call("verify-submission", "ours.zip").stdout
    assert told.replace("ours.zip", "") == (made / "told").read_text().replace(str(made / "ours.zip"), "")
    lines = told.splitlines()
    assert lines[0] == "ours.zip: 8 runs of ensemble, joint, unimodal on synthetic"
    assert "holds: settings of 8 runs give the keys on record" in lines
    assert "holds: code of 8 runs is that of the methods here" in lines
    assert "holds: 40 numbers of 8 runs follow from the predictions" in lines  # 2 parts of 4 x 3 and 4 x 2
    assert "holds: numbers of 8 runs follow from the data here" in lines
    assert "holds: 320 samples of 8 runs are those of the data here" in lines
    assert "holds: samples of 8 runs are those of the other runs on the same data" in lines
    assert "not proven: numbers that need the weights or the training data: test/noise (8 runs)" in lines
    assert [line for line in lines if line.removeprefix("not proven: ") in NEVER] == [f"not proven: {n}" for n in NEVER]
    assert lines[-1] == "Nothing that can be checked is wrong."
    assert list(Path.cwd().iterdir()) == [ours]  # no record is made by it


@pytest.mark.usefixtures("ours")
def test_as_json() -> None:
    data = json.loads(call("verify-submission", "ours.zip", "--json").stdout)
    assert (data["runs"], data["holds"], len(data["never_proven"])) == (8, True, 4)
    assert {one["state"] for one in data["said"]} == {"holds", "unproven"}


def test_it_is_the_archive_of_export_with_all_that_the_runs_start_from(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(made / "home"))
    monkeypatch.chdir(tmp_path)
    call("export", "all.zip")
    assert (tmp_path / "all.zip").read_bytes() == (made / "ours.zip").read_bytes()
    assert "3 runs of ensemble, unimodal" in call("submit", "few.zip", "--method", "ensemble", "--seeds", "0,").stdout
    assert "no finished run to submit" in call("submit", "none.zip", "--seeds", "7,", code=2).stderr
    assert "nothing is overwritten" in call("submit", "few.zip", code=2).stderr


def number(entries: Entries) -> None:
    """A better result, with checksums that fit."""
    key, _ = run_in(entries, "joint")
    sealed(entries, key, lambda run: run["metrics"].update({"test/accuracy": [[0, 0.99, 1]]}))  # type: ignore[attr-defined]


def secondary_number(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    sealed(entries, key, lambda run: run["metrics"].update({"test/modality/m1/accuracy": [[0, 0.99, 1]]}))  # type: ignore[attr-defined]


def floor(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    sealed(entries, key, lambda run: run["metrics"].update({"floor/accuracy": [[0, 0.01, 1]]}))  # type: ignore[attr-defined]


def swapped_labels(entries: Entries) -> None:
    """The labels are what was predicted, and the result on record fits them."""
    key, _ = run_in(entries, "joint")

    def swap(columns: dict[str, Any]) -> None:
        columns["label"] = [row.index(max(row)) for row in columns["logits"]]

    repacked(entries, key, swap)
    perfect = {f"{part}/accuracy": [[0, 1.0, 1]] for part in ("test", "selected_val")}
    sealed(entries, key, lambda run: run["metrics"].update(perfect))  # type: ignore[attr-defined]


def dropped_samples(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    repacked(entries, key, lambda columns: [column.pop() for column in columns.values()])


def ids_twice(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    repacked(entries, key, lambda columns: columns["id"].__setitem__(-1, columns["id"][-2]))


def other_part(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    repacked(entries, key, lambda columns: columns["part"].__setitem__(-1, "none"))


def infinite(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    repacked(entries, key, lambda columns: columns["logits"][0].__setitem__(0, float("inf")))


def label_that_is_no_class(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    repacked(entries, key, lambda columns: columns["label"].__setitem__(0, 99))


def column(name: str, cells: Callable[[int], list[Any]], file: str = PREDICTIONS) -> Callable[[Entries], None]:
    """A column of cells that no training writes, for so many samples."""

    def change(entries: Entries) -> None:
        key, _ = run_in(entries, "joint")
        repacked(entries, key, lambda columns: columns.update({name: cells(len(columns["id"]))}), file)

    return change


def no_file_of_predictions(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    for file in (PREDICTIONS, SCORES):
        entries.pop(f"runs/{key}/files/{file}")

    def without(run: dict[str, Any]) -> None:
        run["files"].clear()
        run["tags"] = {name: text for name, text in run["tags"].items() if not name.startswith("sha256/")}

    sealed(entries, key, without)


def all_right(count: int) -> list[Any]:
    return [1.0] * count


def scores_among_predictions(entries: Entries) -> None:
    """A column that predictions do not have, with the same content as in the forged scores."""
    column("score", all_right, SCORES)(entries)
    column("score", all_right)(entries)


def labels_of_another_form(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    repacked(entries, key, lambda columns: columns.update(label=[float(one) for one in columns["label"]]))


def training_size(entries: Entries) -> None:
    key, _ = run_in(entries, "joint")
    sealed(entries, key, lambda run: run["metrics"].update({"data/train_samples": [[0, 3000.0, 1]]}))  # type: ignore[attr-defined]


def setting(name: str, value: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        key, _ = run_in(entries, "joint")
        sealed(entries, key, lambda run: run["params"].update({name: value}))  # type: ignore[attr-defined]

    return change


def tag(name: str, value: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        key, _ = run_in(entries, "joint")
        sealed(entries, key, lambda run: run["tags"].update({name: value}))  # type: ignore[attr-defined]

    return change


SOURCES = ["./evil.py", "./evil.py:Net", "evil:Net", "os:path"]
NOT_OF_ITS_KEY = "are not those of its key"
FORGED: dict[str, tuple[Callable[[Entries], object], str]] = {
    "a number": (number, "test/accuracy is 0.99 on record and"),
    "a secondary number": (secondary_number, "test/modality/m1/accuracy is 0.99 on record and"),
    "the constant predictor": (floor, "floor/accuracy is 0.01 on record and"),
    "swapped labels": (swapped_labels, ", have another label or group"),
    "a dropped sample": (dropped_samples, "data/test_samples is 20 on record and 19 by its predictions"),
    "an id twice": (ids_twice, "its test part has 1 id more than once, such as 'test18'"),
    "a sample of no part": (other_part, "1 of its samples are neither of the validation nor of the test part"),
    "a prediction that is infinite": (infinite, "its predictions 'logits' are not finite"),
    "a label that is no class": (label_that_is_no_class, "a label of its val part is none of its 5 classes"),
    "two scores where five are predicted": (
        column("label", lambda n: [[0.5] * 2] * n),
        "test accuracy does not follow from its predictions",
    ),
    "lists of who has a modality": (
        column("present/m1", lambda n: [[1.0] * 5] * n),
        "its column 'present/m1' does not say yes or no for each sample",
    ),
    "labels of a modality that are scores": (
        column("label/m1", lambda n: [0.5] * n),
        "its labels of 'm1' alone do not have the form of its labels",
    ),
    "a share that is no number": (
        setting("encoder.m1.drop_pathway", "often"),
        "its settings are not allowed: encoder.m1.drop_pathway=often",
    ),
    "no predictions": (no_file_of_predictions, "it has no predictions"),
    "another setting of training": (setting("optimizer.lr", "0.5"), NOT_OF_ITS_KEY),
    "another setting of the model": (setting("model.width", "7"), NOT_OF_ITS_KEY),
    "another setting of an encoder": (setting("encoder.m1.width", "7"), NOT_OF_ITS_KEY),
    "another setting of the data": (setting("dataset.train", "31"), NOT_OF_ITS_KEY),
    "a setting that is not allowed": (setting("epochs", "-1"), "its settings are not allowed: epochs=-1"),
    "another digest of the code": (tag("method_digest", "0" * 16), NOT_OF_ITS_KEY),
    "another fingerprint": (tag("fingerprint", "0" * 64), NOT_OF_ITS_KEY),
    "another seed": (tag("seed", "1"), NOT_OF_ITS_KEY),
    "another name in tables": (tag("label", "mcr"), "its tag 'label' is 'mcr', and by its method and settings joint ["),
    "another role": (tag("role", "ensemble"), "its tag 'role' is 'ensemble', and by its method and settings "),
    "another line": (tag("config", "0" * 20), "its tag 'config' is '000"),
    "another comparison": (tag("data_identity", "0" * 20), "its tag 'data_identity' is '000"),
    "what it says of gradients": (tag("scales_gradients", "true"), "its tag 'scales_gradients' is 'True', and"),
    "another size of the training part": (training_size, "data/train_samples is 3000 on record, and the training part"),
    "scores that are all right": (
        column("score", all_right, SCORES),
        "its scores.parquet does not follow from its predictions",
    ),
    "scores as a column of predictions": (
        scores_among_predictions,
        "its scores.parquet does not follow from its predictions",
    ),
    "labels of another form": (labels_of_another_form, "does not follow from its predictions"),
    "scores that are texts": (
        column("score", lambda n: ["1.0"] * n, SCORES),
        "its scores.parquet does not follow from its predictions",
    ),
    "scores of other predictions": (
        column("note", lambda n: ["x" * 50] * n),
        "its scores.parquet does not follow from its predictions",
    ),
    "another metric": (tag("metric", "modality"), "its tag 'metric' is 'modality'"),
}


FEW = (
    *("a number", "the constant predictor", "swapped labels", "a dropped sample", "an id twice", "no predictions"),
    "scores that are all right",
    *("another setting of training", "another setting of the data", "another digest of the code"),
)


@pytest.mark.parametrize("what", [pytest.param(what, marks=[] if what in FEW else pytest.mark.slow) for what in FORGED])
@pytest.mark.usefixtures("ours")
def test_what_was_forged_is_said_in_a_sentence(what: str) -> None:
    change, reason = FORGED[what]
    rewrite(Path("ours.zip"), change)
    refused = what == "another metric"
    done = call("verify-submission", "ours.zip", code=2 if refused else 1)
    told = done.stderr if refused else done.stdout
    assert [line for line in told.splitlines() if line.startswith(("WRONG: ", "error: ")) and reason in line]


def test_swapped_labels_are_seen_without_the_data_too(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(ours, swapped_labels)
    with monkeypatch.context() as patch:
        patch.setattr("mcr_bench.bench.publish.here.Data._make", lambda *_: "it is not prepared")
        told = call("verify-submission", "ours.zip", code=1).stdout
    assert f"WRONG: {JOINT}: its samples are not those of " in told
    assert "which is not available here: it is not prepared (8 runs)" in told


def test_what_cannot_be_known_here_is_not_called_wrong(ours: Path) -> None:
    def foreign(entries: Entries) -> None:
        for seed in (0, 1):
            key, _ = run_in(entries, "joint", seed)
            sealed(entries, key, lambda run: run["tags"].update(version="0.0.1"))  # type: ignore[attr-defined]
        key, _ = run_in(entries, "unimodal")
        sealed(entries, key, lambda run: run["tags"].update(source="./theirs.py"))  # type: ignore[attr-defined]

    told = call("verify-submission", str(rewrite(ours, foreign))).stdout
    assert "version 0.0.1 trained it" in told
    assert "its method is a file of the submitter's" in told
    assert "it starts from unimodal" in told


def test_no_code_that_an_archive_names_is_run(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file that lies here under that name, nor a package."""
    Path("evil.py").write_text("open('ran', 'w')\n")
    monkeypatch.setattr(registry, "packaged", lambda *_: pytest.fail("a package is looked up"))

    def named(entries: Entries) -> None:
        for key, source in zip(
            keys_in(entries), ("./evil.py", "./evil.py:Net", "evil:Net", "os:path") * 2, strict=True
        ):
            tags = {"dataset_source": source, "source": source, "method": source, "dataset": source.replace("/", "-")}
            params = {"encoder.m1.kind": source, "encoder.m2.kind": source, "model.fusion": source}
            sealed(entries, key, lambda run, t=tags, p=params: (run["tags"].update(t), run["params"].update(p)))  # type: ignore[attr-defined,misc]

    call("verify-submission", str(rewrite(ours, named)))
    assert not Path("ran").exists()


def test_names_are_shown_and_not_obeyed(ours: Path) -> None:
    rewrite(ours, tag("label", HOSTILE))
    rewrite(ours, number)
    told = call("verify-submission", "ours.zip", code=1).stdout
    assert "\x1b" not in told
    assert "WRONG: x</script><script>alert(1)</script>\\u001b[31m on synthetic" in told


def test_settings_that_would_generate_too_much_are_only_not_proven(ours: Path) -> None:
    rewrite(ours, setting("dataset.train", str(10**11)))
    told = call("verify-submission", "ours.zip", code=1).stdout  # and its key is another
    assert "not proven: that ids and labels are those of its data, which is not available here: RuntimeError" in told


def test_what_tables_go_by_is_that_of_method_and_settings(ours: Path) -> None:
    shutil.copy(ours, "whole.zip")
    for what in ("another name in tables", "another comparison", "another size of the training part"):
        change, reason = FORGED[what]
        shutil.copy("whole.zip", ours)
        rewrite(ours, change)
        assert reason in call("verify-submission", "ours.zip", code=1).stdout


def test_an_archive_without_runs_is_no_submission(ours: Path) -> None:
    def without(entries: Entries) -> None:
        manifest = json.loads(entries["manifest.json"]) | {"runs": []}
        entries.clear()
        entries["manifest.json"] = json.dumps(manifest).encode()

    rewrite(ours, without)
    assert "holds no run, so there is nothing to check" in call("verify-submission", "ours.zip", code=2).stderr


def test_a_cut_archive_is_refused(ours: Path) -> None:
    ours.write_bytes(ours.read_bytes()[:-100])
    assert "is not a complete archive of runs" in call("verify-submission", "ours.zip", code=2).stderr


def test_what_is_wrong_is_not_written(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(made / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mcr_bench.bench.publish.numbers.CLOSE", -1.0)  # nothing agrees any more
    assert "'ours.zip' was not written" in call("submit", "ours.zip", code=1).stderr
    assert not Path("ours.zip").exists()
