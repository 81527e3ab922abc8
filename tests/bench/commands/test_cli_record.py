"""Verbs that read the record, run experiments and tune: from an empty record to figures, and every wrong input."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.cli import app

FILE = """
title = "tiny"
methods = ["joint", "ensemble", "mcr"]
datasets = ["synthetic"]
seeds = 3
figures = ["methods", "forest"]
tables = ["methods", "statistics"]

[set]
epochs = 1
dataset.train = 60
dataset.val = 40
dataset.test = 50
"""


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCR_BENCH_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a record after the experiment above, with what the command said."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "tiny.toml").write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MCR_BENCH_HOME", str(folder / "home"))
        done = call("run", "tiny.toml", "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert "forest-synthetic" not in done.stdout  # what stands there may be JSON
    (folder / "said.txt").write_text(done.output)
    return folder


@pytest.fixture
def _recorded(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(recorded / "home"))


def test_an_experiment_trains_and_writes_what_it_wants(recorded: Path) -> None:
    folder = recorded / "home" / "experiments" / "tiny"
    written = {path.suffix for path in folder.iterdir() if not path.name.startswith(".")}
    assert written == {".md", ".csv", ".tex", ".html", ".png", ".svg", ".pdf"}
    said = (recorded / "said.txt").read_text()
    assert "synthetic · m1 + m2" in said
    assert "forest-synthetic" in said


@pytest.mark.usefixtures("_recorded")
def test_an_experiment_again_trains_nothing_and_options_win(recorded: Path) -> None:
    plan = json.loads(call("run", str(recorded / "tiny.toml"), "--plan", "--json").stdout)
    assert {run["state"] for run in plan["runs"]} == {"finished"}
    other = json.loads(call("run", str(recorded / "tiny.toml"), "--seeds", "4,", "--plan", "--json").stdout)
    assert {run["seed"] for run in other["runs"]} == {4}
    assert other["estimate"]["measured"] + other["estimate"]["scaled"] == len(other["runs"])


@pytest.mark.usefixtures("_recorded")
def test_waiting_for_a_server_without_one_is_told_to_be_without_effect(recorded: Path) -> None:
    told = call("run", str(recorded / "tiny.toml"), "--plan", "--server-wait", "5")
    assert told.exit_code == 0, told.output
    assert "--server-wait has no effect: the record at sqlite:" in told.stderr
    assert "mlflow.db is a file, not a server" in told.stderr


@pytest.mark.usefixtures("_recorded")
def test_compare_says_power_first_and_gives_the_command() -> None:
    done = call("compare")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "3 (seed, fold) pairs cannot reach p <= 0.05 after Holm over 2 comparisons" in lines[1]
    assert "mcr-bench run --methods" in lines[2]
    assert "--seeds 7" in lines[2]
    assert "secondary: no correction" in done.stdout
    assert "all pairs" in done.stdout


@pytest.mark.usefixtures("_recorded")
def test_compare_as_json() -> None:
    done = json.loads(call("compare", "--baseline", "joint", "--metric", "macro_f1", "--alpha", "0.3", "--json").stdout)
    (found,) = done["comparisons"]
    assert (found["baseline"], found["metric"], found["alpha"]) == ("joint", "macro_f1", 0.3)
    assert {one["method"] for one in found["against"]} == {"ensemble", "mcr"}
    assert done["across_datasets"]["datasets"] == 1


@pytest.mark.usefixtures("_recorded")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--metric", "acuracy"], "accuracy"),
        (["--baseline", "jonit"], "joint"),
        (["--baseline", "ogm"], "mcr-bench run --methods ogm --dataset synthetic"),
        (["--alpha", "5"], "between 0 and 1"),
        (["--alpha", "nan"], "between 0 and 1"),
    ],
)
def test_wrong_questions_name_the_remedy(arguments: list[str], named: str) -> None:
    done = call("compare", *arguments)
    assert done.exit_code == 2
    assert named in done.stderr


@pytest.mark.usefixtures("_recorded")
def test_tables_are_written_in_every_format(recorded: Path) -> None:
    done = call("tables")
    assert done.exit_code == 0, done.output
    files = [path.name for path in (recorded / "home" / "tables").iterdir()]
    assert any(name.startswith("synthetic") and name.endswith(".tex") for name in files)
    assert any(name.startswith("MCR") and name.endswith(".html") for name in files)


@pytest.mark.usefixtures("_recorded")
def test_figures_are_drawn_and_what_cannot_be_is_said(recorded: Path) -> None:
    done = call("plot", "methods", "sweep")
    assert done.exit_code == 0, done.output
    assert "left out: sweep" in done.stderr
    assert len(list((recorded / "home" / "figures").glob("methods-*"))) == 3
    wrong = call("plot", "metods")
    assert (wrong.exit_code, "methods" in wrong.stderr) == (2, True)


def test_verbs_on_an_empty_record_say_how_to_start() -> None:
    for verb in ("compare", "tables", "plot"):
        done = call(verb)
        assert done.exit_code == 0, done.output
        assert "mcr-bench run" in done.output, verb
    assert list(Path("results/tables").glob("MCR*.csv"))


def test_run_without_anything_and_with_wrong_files() -> None:
    assert "--methods is missing" in call("run", "--dataset", "synthetic").stderr
    assert "--dataset is missing" in call("run", "--methods", "joint").stderr
    nothing = call("run", "figure2")
    assert (nothing.exit_code, "figure1" in nothing.stderr) == (2, True)
    Path("bad.toml").write_text('methods = ["joint"]\ndatasets = ["synthetic"]\nsede = 3\n')
    bad = call("run", "bad.toml")
    assert bad.exit_code == 2
    assert "bad.toml, line 3" in bad.stderr
    assert "seeds" in bad.stderr
    Path("figure.toml").write_text('methods = ["joint"]\ndatasets = ["synthetic"]\nfigures = ["metods"]\n')
    assert "line 3" in call("run", "figure.toml").stderr


def test_table1_can_be_planned_without_any_data() -> None:
    done = call("run", "table1.toml", "--plan")
    assert done.exit_code == 0, done.output
    assert "more runs are requested that cannot be made here" in done.stdout
    assert call("run", "table1.toml").exit_code == 2


def test_folders_of_tables_and_figures_that_cannot_be_written_are_named(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{recorded}/home/mlflow.db")
    monkeypatch.setenv("MCR_BENCH_HOME", "taken")
    Path("taken").mkdir()
    for verb, name in (("tables", "tables"), ("plot", "figures")):
        (Path("taken") / name).write_text("mine")
        done = call(verb)
        assert (done.exit_code, "MCR_BENCH_HOME" in done.stderr) == (2, True), done.output
        assert f"cannot write '{Path.cwd()}/taken/{name}'" in done.stderr
        assert (Path("taken") / name).read_text() == "mine"


def test_lists_of_experiments_and_figures() -> None:
    assert "figure1.toml" in call("list", "experiments").stdout
    assert {"methods", "forest"} <= {card["name"] for card in json.loads(call("list", "figures", "--json").stdout)}


def test_tuning_makes_a_preset_that_runs() -> None:
    small = ["--set", "epochs=1", "--set", "dataset.train=60", "--set", "dataset.val=40", "--set", "dataset.test=50"]
    asked = ["tune", "--methods", "joint,mcr", "--dataset", "synthetic", "--trials", "2", *small, "--name", "mine"]
    outline = call(*asked, "--plan")
    assert outline.exit_code == 0, outline.output
    assert "lambda_mipd" in outline.stdout
    done = call(*asked, "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert "--preset mine" in done.stdout
    plan = call("run", "--methods", "joint", "--dataset", "synthetic", "--preset", "mine", "--seeds", "1", "--plan")
    assert plan.exit_code == 0, plan.output
    assert "mine" in call("list", "presets").stdout


@pytest.mark.usefixtures("_recorded")
@pytest.mark.parametrize("way", [(), ("--plan",)])
def test_a_family_named_after_training_is_told_to_be_without_effect(recorded: Path, way: tuple[str, ...]) -> None:
    done = call("run", str(recorded / "tiny.toml"), "--family", "joint,mcr", *way)
    assert done.exit_code == 0, done.output
    assert "3 finished runs on record were planned under another family" in " ".join(done.output.split())


@pytest.mark.usefixtures("_recorded")
@pytest.mark.parametrize("verb", ["compare", "report", "plot", "publish"])
def test_an_unknown_baseline_is_refused_by_every_verb_that_takes_one(verb: str) -> None:
    done = call(verb, "--baseline", "nope")
    assert done.exit_code == 2, done.output
    assert "--baseline: unknown method on record 'nope'" in " ".join(done.output.split())


@pytest.mark.usefixtures("_recorded")
def test_a_figure_whose_baseline_has_no_run_is_left_out() -> None:
    done = call("plot", "forest", "--baseline", "ogm")
    assert done.exit_code == 0, done.output
    assert "left out: forest" in done.output
    assert "the baseline ogm has no finished run" in done.output


@pytest.mark.usefixtures("_recorded")
def test_an_alpha_that_no_design_reaches_gets_a_sentence() -> None:
    done = call("compare", "--alpha", "1e-300")
    assert "no number of pairs reaches it" in " ".join(done.output.split())
    assert "StopIteration" not in done.output
