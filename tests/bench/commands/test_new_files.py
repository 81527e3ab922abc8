"""`mcr-bench new`: a file of each kind works at once, has every property and passes its test; none is overwritten."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mcr_bench.bench.commands.plugins import new_files
from mcr_bench.bench.testing.card import checked
from mcr_bench.bench.testing.kits import kit_of
from mcr_bench.cli import app

# What an author alone can say, which the file therefore does not.
UNSTATED = {"method": {"complete-card": "unchanged since `mcr-bench new` has written the file: reference, deviations"}}
KINDS = ("method", "dataset", "encoder", "fusion")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new file of each kind."""
    folder = tmp_path_factory.mktemp("written")
    for kind in KINDS:
        told = call("new", kind, f"my-own_{kind}", "--folder", str(folder))
        assert told.exit_code == 0, told.output
    return folder


def test_it_writes_two_files_and_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = call("new", "encoder", "wide-view", "--folder", "nets")
    assert told.exit_code == 0
    assert sorted(path.name for path in Path("nets").iterdir()) == ["test_wide_view.py", "wide_view.py"]
    assert "mcr-bench describe ./nets/wide_view.py\n" in told.stdout
    assert "--set encoder.kind=./nets/wide_view.py:WideView\n" in told.stdout
    assert "mcr-bench check ./nets/wide_view.py\n" in told.stdout


def test_it_says_how_an_encoder_of_sequences_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that are printed work for a file whose axes were changed to (2,), which refuses vectors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCR_BENCH_HOME", "home")
    told = call("new", "encoder", "own-steps").stdout
    file = Path("own_steps.py")
    file.write_text(file.read_text().replace("axes = (1, 2)", "axes = (2,)"))
    dataset, run = (line.split()[1:] for line in told.splitlines() if "my-set" in line or "./my_set.py" in line)
    assert call(*dataset).exit_code == 0
    planned = call(*run, "--plan")
    assert planned.exit_code == 0, planned.output
    assert "encoder.MODALITY.kind=./own_steps.py:OwnSteps" in told


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_the_example_are_gone(kind: str, written: Path) -> None:
    text = (written / f"my_own_{kind}.py").read_text() + (written / f"test_my_own_{kind}.py").read_text()
    example = new_files.OF_KIND[kind]
    assert "mcr_bench_example" not in text
    assert example.cls not in text
    assert f'"{example.name}"' not in text
    assert f"class MyOwn{kind.capitalize()}(" in text


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_described_and_has_every_property(kind: str, written: Path) -> None:
    file = str(written / f"my_own_{kind}.py")
    told = call("describe", file)
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith(f"{kind}: ")
    assert "not stated" not in told.stdout
    kit = kit_of(kind)
    ready = kit.opened(file)
    outcomes = checked(ready.subject, kind, kit.properties, ready.of, ready.file).outcomes
    assert len(outcomes) > 10
    failed = {one.property: one.reason for one in outcomes if one.state == "failed"}
    assert failed == UNSTATED.get(kind, {})


@pytest.mark.parametrize(
    ("replaced", "left"),
    [
        ({r"Reference\(.*\)": 'Reference("Mine", "unpublished")'}, "deviations"),
        ({r"(deviations.*) = .*": r"\1 = ()"}, "reference"),
        ({r"Reference\(.*\)": 'Reference("Mine", "unpublished")', r"(deviations.*) = .*": r"\1 = ()"}, ""),
    ],
)
def test_the_card_of_a_new_method_is_complete_once_its_author_has_said_it(
    replaced: dict[str, str], left: str, tmp_path: Path
) -> None:
    text = new_files.text_of("method", "mine")
    for old, new in replaced.items():
        text = re.sub(old, new, text)
    (tmp_path / "mine.py").write_text(text)
    kit = kit_of("method")
    (card,) = [one for one in kit.properties if one.name == "complete-card"]
    ready = kit.opened(str(tmp_path / "mine.py"))
    (outcome,) = checked("mine", "method", [card], ready.of, ready.file).outcomes
    assert outcome.state == ("failed" if left else "passed")
    assert outcome.reason.rpartition(": ")[2] == left
    assert not left or "'unpublished'" in outcome.hint


def test_their_tests_pass_with_plain_pytest(written: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=written, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed" in done.stdout


def test_they_run_together(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCR_BENCH_HOME", "home")
    place = {kind: str(written / f"my_own_{kind}.py") for kind in KINDS}
    options = (
        *("--methods", place["method"], "--dataset", place["dataset"], "--seeds", "1", "--jobs", "1"),
        *("--set", "epochs=1", "--set", f"encoder.kind={place['encoder']}:MyOwnEncoder"),
        *("--set", f"model.fusion={place['fusion']}:MyOwnFusion", "--set", "my-own_method.gamma=1"),
    )
    told = call("run", *options)
    assert told.exit_code == 0, told.output
    assert "my-own_method" in told.stdout
    assert "my-own_dataset · tone + colour · protocol drawn" in told.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for name in ("mine.py", "test_mine.py"):
        (tmp_path / name).write_text("mine")
        told = call("new", "method", "mine", "--folder", str(tmp_path))
        assert (told.exit_code, f"{name}' exists, and nothing is overwritten" in told.stderr) == (2, True)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("method", "joint", "the name 'joint' is taken; choose another one, such as my-method"),
        ("method", "all", "is taken"),
        ("dataset", "synthetic", "is taken"),
        ("fusion", "gated", "is taken"),
        ("encoder", "2mlp", "letters, digits, - and _, a letter first"),
        ("encoder", "my net", "letters, digits, - and _, a letter first"),
        ("encoder", "../net", "letters, digits, - and _, a letter first"),
        ("method", "class", "its file class.py, or its class Class, would hide"),
        ("method", "torch", "its file torch.py"),
        ("method", "statistics", "its file statistics.py"),
        ("method", "method", "its class Method, would hide"),
        ("dataset", "split", "its class Split, would hide"),
        ("fusion", "test-head", "its file test_head.py"),
    ],
)
def test_names_that_cannot_be_used_are_refused(kind: str, name: str, says: str, tmp_path: Path) -> None:
    told = call("new", kind, name, "--folder", str(tmp_path))
    assert told.exit_code == 2
    assert says in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = call("new", "method", "mine", "--folder", str(tmp_path / "file"))
    assert (told.exit_code, "is not a folder" in told.stderr) == (2, True)


@pytest.mark.parametrize("before", [0, 1])
def test_an_interruption_leaves_no_file(before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the first file, and between the two."""
    write, done = new_files.write_whole, list[Path]()

    def interrupted(path: Path, content: str) -> None:
        if len(done) == before:
            raise KeyboardInterrupt
        done.append(path)
        write(path, content)

    monkeypatch.setattr(new_files, "write_whole", interrupted)
    assert call("new", "dataset", "mine", "--folder", str(tmp_path)).exit_code == 130
    assert list(tmp_path.iterdir()) == []
