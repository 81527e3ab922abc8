"""Experiment files: what they ask for, how the command line wins, and that every error names file, line and key."""

from pathlib import Path

import numpy as np
import pytest

from mcr_bench.bench.analysis.published import published_tables_of
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.commands import reading
from mcr_bench.bench.commands.writing import named_by_points
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.figures.catalog import CARDS
from mcr_bench.bench.planning import experiment_file
from mcr_bench.bench.planning.experiment import Choices, Experiment, read_experiment, shipped
from mcr_bench.bench.planning.plan import make_plan_of
from mcr_bench.tests.support.records.figure_rows import compared, line
from mcr_bench.tests.support.records.run_rows import run_row

HEAD = 'methods = ["joint"]\ndatasets = ["synthetic"]\nseeds = 1\n'


@pytest.fixture(autouse=True)
def _without_third_parties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda **_: [])


def written(folder: Path, text: str) -> Experiment:
    path = folder / "mine.toml"
    path.write_text(text)
    return read_experiment(str(path))


BAD = [
    ("methods = [", r"mine.toml: not valid TOML: .*at line 1, the last"),
    ("seeds = 1\nmethods = all", r"mine.toml: not valid TOML: .*at line 2, column 11"),
    ("title = 1", r"mine.toml, line 1, 'title': 1 is not allowed. Give text"),
    ("\nmethod = 'all'", r"line 2, 'method': unknown key 'method'. Did you mean methods"),
    ("epochs = 5", r"line 1, 'epochs': unknown key 'epochs'.*belong under \[set\]"),
    ("methods = []", r"line 1, 'methods': \[\] is not allowed. Give a name, or a list of at least one name"),
    ("seeds = true", r"line 1, 'seeds': true is not allowed"),
    ("seeds = 0", r"line 1, 'seeds': 0 is not allowed"),
    ("seeds = [1, -1]", r"line 1, 'seeds'"),
    ("pairs = [[1]]", r"line 1, 'pairs': .*Give a list of at least one \[seed, fold\]"),
    ("fold = 1\npairs = [[1, 1]]", r"line 2, 'pairs': .*Leave out 'fold'"),
    ("set = 3", r"line 1, 'set': 3 is not allowed. Give a table"),
    ("[set]\nepochs = [1, 2]", r"line 2, 'set.epochs': \[1, 2\] is not allowed. Give several values under \[sweep\]"),
    ("[sweep]\nepochs = 1", r"line 2, 'sweep.epochs': .*a single value belongs under \[set\]"),
    ("[sweep]\nepochs = []", r"line 2, 'sweep.epochs': \[\] is not allowed"),
    ("[set]\nepochs = 2020-01-01", r"line 2, 'set.epochs': .*Give true, false, a number or text"),
    ("[set]\nepochs = 1\n[sweep]\nepochs = [1]", r"line 4, 'epochs': also set on line 2"),
    ("[[points]]\nepochs = 1\n[set]\nepochs = 1", r"line 2, 'epochs': also set on line 4"),
    ("points = []", r"line 1, 'points'"),
    (
        "[[points]]\nname = 'a'\nepochs = 1\n[[points]]\nname = 'a'",
        r"line 4, 'points': the name .*'a', are those of line 1",
    ),
    (
        "[[points]]\nepochs = 1\n[[points]]\nname = 'b'\nepochs = 1",
        r"line 3, 'points': the settings .*are those of line 1",
    ),
    ("[[points]]\nname = 3", r"line 2, 'points.name'"),
    ("figures = ['methods',\n'rase']", r"line 2, 'figures': unknown figure 'rase'. Did you mean race"),
    ("tables = 'methds'", r"line 1, 'tables': unknown table 'methds'. Did you mean methods"),
    ("baseline = 'jiont'", r"line 1, 'baseline': unknown method 'jiont'. Did you mean joint"),
    ("[[comparison]]\n[[comparison]]\nfigures = 'race'", r"line 3, 'comparison.figures': .*only at the top"),
    ("[[comparison]]\ntitle = 'a'\nset.epochs = [1]", r"line 3, 'comparison.set.epochs'"),
]


@pytest.mark.parametrize(("text", "says"), BAD, ids=[text.replace("\n", "|") for text, _ in BAD])
def test_errors_of_the_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        written(tmp_path, text)


PLANNED = [
    (HEAD.replace("joint", "jiont"), r"line 1, 'methods': unknown method 'jiont'. Did you mean joint"),
    (HEAD.replace("synthetic", "synthetik"), r"line 2, 'datasets': unknown dataset 'synthetik'"),
    (HEAD + "protocol = 'papr'", r"line 4, 'protocol': unknown protocol of synthetic 'papr'. Did you mean paper"),
    (HEAD + "preset = 'figure2'", r"line 4, 'preset': unknown preset of synthetic 'figure2'. Did you mean figure1"),
    (HEAD + "modalities = ['m1', 'm3']", r"line 4, 'modalities': unknown modality of synthetic 'm3'"),
    (HEAD + "fold = 4", r"line 4, 'fold': --fold 4"),
    (HEAD.replace("seeds = 1", "pairs = [[1, 2]]"), r"line 3, 'pairs': --fold 2"),
    (HEAD.replace("seeds = 1", f"pairs = [[{2**63}, 1]]"), r"line 3, 'pairs': too large. Allowed: .* at most 9223372"),
    (HEAD.replace("seeds = 1", "seeds = 10001"), r"line 3, 'seeds': too large"),
    (HEAD + "[set]\nepoch = 5", r"line 5, 'epoch': unknown setting 'epoch'. Did you mean epochs"),
    (HEAD + "[set]\nepochs = 'few'", r"line 5, 'epochs': epochs=few: not allowed"),
    (HEAD + "[set]\njoint.optimizer.lr = -1", r"line 5, 'joint.optimizer.lr': optimizer.lr=-1"),
    (HEAD + "[set]\nencoder.m2.width = 0", r"line 5, 'encoder.m2.width': encoder.width=0"),
    (HEAD + "[set]\nepochs = 1\nencoder.kind = './no.py:Net'", r"line 6, 'encoder.kind': encoder file 'no.py'"),
    (HEAD + "[set]\nepochs = 1\nmodel.fusion = 'my/no.py'", r"line 6, 'model.fusion': fusion head file 'my/no.py'"),
    (HEAD + "[sweep]\nencoder.m2.kind = ['mlp', 'no.py:X']", r"line 5, 'encoder.m2.kind': encoder file 'no.py'"),
    (HEAD + "[sweep]\nepochs = [1,\n'x']", r"line 5, 'epochs': epochs=x"),
    (HEAD + "[[points]]\nepochs = 1\n[[points]]\nepochs = 'x'", r"line 7, 'epochs': epochs=x"),
    (HEAD + "[set]\nmcr.strategy = 'greedy'", r"line 5, 'mcr.strategy': --set mcr.strategy: method 'mcr' is not part"),
    (HEAD + "[[comparison]]\n[[comparison]]\nset.epoch = 1", r"line 6, 'epoch'"),
    ("methods = 'all'", r"line 1: 'datasets' is missing. Add datasets = \[...\], or give --dataset"),
]


@pytest.mark.parametrize(("text", "says"), PLANNED, ids=[says for _, says in PLANNED])
def test_errors_of_the_plan_name_the_place_too(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=f"mine.toml, {says}"):
        make_plan_of(written(tmp_path, text).requests())


def test_a_name_means_a_file_here_or_else_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_experiment("quick").title == read_experiment("quick.toml").title == "Quick look"
    (tmp_path / "quick.toml").write_text("title = 'my own'")
    assert read_experiment("quick").title == read_experiment("quick.toml").title == "my own"
    with pytest.raises(UserError, match=r"no file 'quik.toml' here, and unknown shipped .*Did you mean quick.toml"):
        read_experiment("quik.toml")
    with pytest.raises(UserError, match=r"'other/quick.toml' is not a file"):
        read_experiment("other/quick.toml")


def test_points_cross_the_sweep_and_what_does_not_concern_a_method_is_trained_once(tmp_path: Path) -> None:
    text = 'methods = ["joint", "mcr"]\ndatasets = ["synthetic"]\nseeds = 2\n[sweep]\nmcr.lambda_uni = [0, 1]\n'
    text += "[[points]]\nmcr.lambda_con = 0\nmcr.lambda_ceb = 1\n[[points]]\nmcr.lambda_con = 1\nmcr.lambda_ceb = 0\n"
    plan = make_plan_of(written(tmp_path, text).requests())
    joint, mcr = ([r for r in plan.runs if r.method == m] for m in ("joint", "mcr"))
    assert [r.label for r in joint] == ["joint", "joint"]
    found = {(r.settings["lambda_uni"], r.settings["lambda_con"], r.settings["lambda_ceb"]) for r in mcr}
    assert found == {(0, 0, 1), (1, 0, 1), (0, 1, 0), (1, 1, 0)}
    assert len(plan.runs) == 2 + 4 * 2


def test_comparisons_inherit_the_top_and_narrower_settings_win(tmp_path: Path) -> None:
    text = HEAD + "[set]\nepochs = 5\npatience = 3\n[sweep]\nbatch_size = [8, 16]\n"
    text += "[[comparison]]\nseeds = [4]\n[[comparison]]\npairs = [[7, 1]]\nset.batch_size = 4\nsweep.epochs = [1, 2]\n"
    first, second = written(tmp_path, text).requests()
    assert (first.seeds, first.pairs) == ([4], None)
    assert first.overrides == {"epochs": ["5"], "patience": ["3"], "batch_size": ["8", "16"]}
    assert (second.seeds, second.pairs) == (None, [(7, 1)])
    assert second.overrides == {"patience": ["3"], "batch_size": ["4"], "epochs": ["1", "2"]}
    plan = make_plan_of([first, second])
    assert [(r.seed, r.fold) for r in plan.runs] == [(4, 1), (4, 1), (7, 1), (7, 1)]


def test_the_command_line_wins(tmp_path: Path) -> None:
    text = (
        HEAD + "[set]\nepochs = 5\n[[points]]\npatience = 1\nbatch_size = 8\n[[points]]\npatience = 2\nbatch_size = 8\n"
    )
    (request,) = written(tmp_path, text).requests(
        Choices(methods=["mcr"], seeds=[3], settings={"patience": ["9"], "epochs": ["1", "2"]}, data_root=Path("there"))
    )
    assert (request.methods, request.seeds, request.data_root) == (["mcr"], [3], Path("there"))
    assert request.overrides == {"patience": ["9"], "epochs": ["1", "2"]}
    assert request.points == [{"batch_size": "8"}]


def test_another_dataset_takes_no_preset_protocol_or_fold_along(tmp_path: Path) -> None:
    text = "methods = 'all'\npreset = 'paper'\nprotocol = 'p'\nmodalities = ['a', 'b']\n"
    text += "[[comparison]]\ndatasets = ['one', 'two']\npairs = [[5, 1], [6, 2]]\n[[comparison]]\ndatasets = 'three'\n"
    experiment = written(tmp_path, text)
    assert [r.datasets for r in experiment.requests()] == [["one", "two"], ["three"]]
    (named,) = experiment.requests(Choices(datasets=["two"]))
    assert (named.datasets, named.preset, named.pairs) == (["two"], "paper", [(5, 1), (6, 2)])
    first, _ = experiment.requests(Choices(datasets=["four"], modalities=("c", "d")))
    assert (first.preset, first.protocol, first.modalities) == (None, None, ("c", "d"))
    assert (first.seeds, first.pairs) == ([5, 6], None)
    (folded,) = experiment.requests(Choices(datasets=["one"], fold=3))
    assert (folded.seeds, folded.fold, folded.pairs) == ([5, 6], 3, None)


def test_what_an_optional_comparison_lacks_is_listed_and_counted(tmp_path: Path) -> None:
    text = "methods = ['unimodal', 'mcr', 'ensemble', 'not-there']\npairs = [[1, 1], [2, 2]]\nmodalities = ['a', 'b']\n"
    text += "set.mcr.start = 'unimodal'\noptional = true\n[[comparison]]\ndatasets = ['nowhere']\n"
    text += "[[comparison]]\ntitle = 'T'\ndatasets = ['utd-mhad']\npairs = [[1, 1]]\n"
    plan = make_plan_of(written(tmp_path, text).requests(Choices(data_root=tmp_path)))
    assert plan.runs == []
    lines = [absent.text for absent in plan.absent]
    assert "nowhere: not offered here: no dataset 'nowhere' is registered (8 runs)" in lines  # 2 x (2 + mcr + ensemble)
    assert "nowhere: not offered here: no method 'not-there' registered (2 runs)" in lines
    assert any(line.startswith("T: data missing: utd-mhad is not prepared") and "(4 runs)" in line for line in lines)
    with pytest.raises(UserError, match="nothing to run: nowhere: not offered here"):
        plan.require_runs()
    with pytest.raises(UserError, match=r"line 4, 'mcr.start': mcr.start=x: not allowed"):
        make_plan_of(written(tmp_path, text.replace("'unimodal'\nopt", "'x'\nopt")).requests())


def name_of(experiment: Experiment, **params: str) -> str | None:
    """The point of a run with these settings; an underscore in a name is a dot."""
    point = experiment.point_of(run_row(params={name.replace("_", "."): text for name, text in params.items()}))
    return point and point.name


def test_lines_are_called_after_the_points_that_tell_them_apart(tmp_path: Path) -> None:
    text = 'methods = ["joint"]\ndatasets = ["synthetic"]\n' + "".join(
        f'[[points]]\nname = "{name}"\nmine.alpha = {value}\n' for name, value in (("weak", 0.1), ("strong", 2))
    )
    experiment = written(tmp_path, text)
    rows = [
        line(f"mine [{texts}]", [0.5, 0.6], params={"alpha": alpha}, overrides=texts)
        for alpha, texts in (
            ("0.1", "mine.alpha=0.1 mine.start=a"),
            ("0.1", "mine.alpha=0.1 mine.start=b"),
            ("2", "mine.alpha=2 mine.start=a"),
        )
    ]
    found = named_by_points(compared(*rows, line("other", [0.1, 0.2])), experiment)
    assert list(found.lines) == [
        "mine: weak [mine.start=a]",
        "mine: weak [mine.start=b]",
        "mine: strong [mine.start=a]",
        "other",
    ]
    assert {row.label for row in found.lines["mine: strong [mine.start=a]"]} == {"mine: strong [mine.start=a]"}
    alone = compared(rows[0], line("other", [0.1, 0.2]))
    assert named_by_points(alone, experiment) is alone


def test_rows_find_the_point_they_belong_to(tmp_path: Path) -> None:
    text = HEAD + "[[points]]\nname = 'one'\ndataset.shared = 0.9\n"
    text += "[[points]]\nname = 'two'\ndataset.shared = 0.9\nepochs = 5\n[[points]]\nname = 'plain'\n"
    experiment = written(tmp_path, text)
    assert name_of(experiment, dataset_shared="0.90", epochs="7") == "one"
    assert name_of(experiment, dataset_shared="0.9", epochs="5") == "two"
    assert name_of(experiment, dataset_shared="0.8", epochs="5") is None


def test_shipped_experiments_can_be_planned() -> None:
    ablations = {"ablation_game.toml", "ablation_perturbation.toml"}
    others = {"quick.toml", "figure1.toml", "table1.toml", "optimisers.toml", "competition.toml"}
    assert {*shipped()} == ablations | others
    plans = {name: make_plan_of(read_experiment(name).requests()) for name in shipped()}
    figure1 = {(r.dataset_settings["shared"], r.dataset_settings["unique"]) for r in plans["figure1.toml"].runs}
    assert figure1 == {(0.9, "0/0.1"), (0.675, "0.225/0.1"), (0.45, "0.45/0.1"), (0.225, "0.675/0.1"), (0, "0.9/0.1")}
    mcr = {r.config for r in plans["ablation_game.toml"].runs if r.method == "mcr"}
    assert len(mcr) == 2 * (9 + 4)
    assert len(plans["table1.toml"].absent) >= 10
    assert {a.runs for a in plans["table1.toml"].absent if "not prepared" in a.reason} == {48, 51}
    perturbations = {r.settings["perturb"] for r in plans["ablation_perturbation.toml"].runs if r.method == "mcr"}
    assert len(perturbations) == 5
    assert np.unique([r.seed for r in plans["quick.toml"].runs]).tolist() == [0, 1, 2]
    budgets = {(r.training["epochs"], r.training["patience"]) for r in plans["optimisers.toml"].runs}
    assert len(budgets) == 1
    both = {(r.preset, r.training["optimizer.name"]) for r in plans["optimisers.toml"].runs}
    sets = ("xor", "redundant", "unique-dominant")
    assert both == {(s, "adam") for s in sets} | {(f"{s}-sgd", "sgd") for s in sets}
    assert {a.title for a in plans["competition.toml"].absent if "not prepared" in a.reason} == {
        *("spoken and written digits, Adam", "spoken and written digits, SGD", "skeleton and depth")
    }


def test_table1_asks_for_the_very_setups_that_published_columns_stand_beside() -> None:
    (table,) = [t for t in published_tables_of() if t.title.startswith("MCR (NeurIPS 2025), Table 1")]
    places = [column.ours for column in table.columns]
    wanted = {(p.dataset, p.protocol, p.preset, frozenset(p.modalities), p.settings) for p in places if p is not None}
    asked = {
        (r.datasets[0], r.protocol, r.preset, frozenset(r.modalities or ()), tuple(r.overrides))
        for r in read_experiment("table1.toml").requests()
    }
    assert asked == wanted
    methods = {m.method for m in table.methods if m.method}
    assert methods <= {*read_experiment("table1.toml").requests()[0].methods, *registry.method_names()}


def test_names_of_figures_and_tables_are_those_that_can_be_made() -> None:
    assert set(experiment_file.FIGURES) == set(CARDS)
    assert set(experiment_file.TABLES) == set(reading.TABLES)


@pytest.mark.parametrize("line", ["seeds = [1, 1]", "pairs = [[1, 1], [1, 1]]"])
def test_a_repetition_that_is_asked_for_twice_is_an_error_on_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "twice.toml"
    path.write_text(f'methods = ["joint"]\ndatasets = ["synthetic"]\n{line}\n')
    with pytest.raises(UserError, match=r"(?s)line 3.*different"):
        read_experiment(str(path))


FAMILIES = """methods = ["joint", "mlb", "ogm"]
datasets = ["synthetic"]
seeds = 1
[[comparison]]
family = ["joint", "mlb"]
[[comparison]]
family = ["joint", "ogm"]
"""


def test_a_run_of_two_comparisons_with_other_families_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.toml, line 7, 'family': --family: (mlb|ogm)") as error:
        make_plan_of(written(tmp_path, FAMILIES).requests())
    assert "here it is joint, ogm, and in the earlier one joint, mlb" in str(error.value)


def test_a_comparison_without_a_family_hides_no_others(tmp_path: Path) -> None:
    without = "[[comparison]]\nmethods = ['joint', 'mlb', 'ogm']\n"
    at = FAMILIES.index("[[comparison]]")
    with pytest.raises(UserError, match="here it is joint, ogm, and in the earlier one joint, mlb"):
        make_plan_of(written(tmp_path, FAMILIES[:at] + without + FAMILIES[at:]).requests())


@pytest.mark.parametrize("second", ['methods = ["ogm"]', 'methods = ["joint", "ogm"]'])
def test_of_families_that_are_not_both_named_the_first_decides(tmp_path: Path, second: str) -> None:
    first = FAMILIES[: FAMILIES.rindex("[[comparison]]")]
    plan = make_plan_of(written(tmp_path, f"{first}[[comparison]]\n{second}\n").requests())
    assert {run.method for run in plan.runs if run.primary} == {"joint", "mlb"}


def test_comparisons_may_have_other_families_of_other_runs(tmp_path: Path) -> None:
    plan = make_plan_of(written(tmp_path, FAMILIES + "set.epochs = 2\n").requests())
    assert len([run for run in plan.runs if run.primary]) == 4
    same = FAMILIES.replace('family = ["joint", "ogm"]', 'family = ["mlb", "joint"]')
    assert len(make_plan_of(written(tmp_path, same).requests()).runs) == 3


def test_a_run_that_others_start_from_first_is_in_the_family_that_asks_for_it(tmp_path: Path) -> None:
    text = "datasets = ['synthetic']\nseeds = 1\n[[comparison]]\nmethods = ['i2m2', 'mlb']\n"
    plan = make_plan_of(written(tmp_path, text + "[[comparison]]\nmethods = ['joint', 'ogm']\n").requests())
    assert {run.method for run in plan.runs if run.primary} == {"i2m2", "mlb", "joint", "ogm"}
