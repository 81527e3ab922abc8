"""`make perf`: parts, how a run is continued, what is not mixed, how a part that fails is told, and the page."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcr_bench.bench.perf import command, store
from mcr_bench.bench.perf.measured import Machine, Measured
from mcr_bench.bench.perf.page import page_text, read_runs, shown
from mcr_bench.bench.perf.store import Origin, code_digest
from mcr_bench.bench.perf.table import wanted
from mcr_bench.tests.support.cuda import pretend_gpus

Part = Callable[[Machine], Iterator[Measured]]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """Name -> the parts `first` and `second`, in the place of those that `make perf` has; tests may replace them."""
    made: dict[str, Part] = {
        "first": lambda _: iter([Measured("mlp fp32: harness / bare loop", 1.05, "ratio", 1.0, 1.5)]),
        "second": lambda _: iter([Measured("waiting for data", 0.5, "share", 0.5, 0.5)]),
    }
    monkeypatch.setattr(command, "PARTS", {"cpu": tuple(made), "cuda": tuple(made)})
    modules = {f"mcr_bench.bench.perf.parts.{name}": name for name in made}

    def imported(name: str) -> SimpleNamespace:
        part = modules[name]
        return SimpleNamespace(**{part: made[part]})

    monkeypatch.setattr(command, "importlib", SimpleNamespace(import_module=imported))
    return made


@pytest.fixture
def perf(parts: dict[str, Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """The command with these parts and an empty folder for its files; gives its exit code and what it printed."""
    assert parts

    def call(*arguments: str) -> tuple[int, str]:
        folders = ("--work", str(tmp_path / "work"), "--docs", str(tmp_path / "docs"))
        code = command.main([*folders, "--device", "cpu", *arguments])
        return code, capsys.readouterr().out

    return call


def test_a_complete_run_prints_every_number_beside_what_is_wanted_and_writes_the_page(
    perf: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, told = perf()
    assert code == 0
    (harness,) = [line.split() for line in told.splitlines() if "harness" in line]
    assert harness[6:] == ["1.050", "wanted", "<=", "1.080", "(rounds", "1.000", "to", "1.500)"]
    page = (tmp_path / "docs/performance.md").read_text()
    assert "| mlp fp32: harness / bare loop | 1.050 | <= 1.080 | 1.000 to 1.500 |" in page
    assert "| waiting for data | 50.0 % |  |  |" in page


def test_parts_add_up_and_the_page_waits_for_all_of_them(perf: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert "Not yet measured: second" in perf("--part", "first")[1]
    assert not (tmp_path / "docs").exists()
    code, told = perf()  # only what is missing
    assert code == 0
    assert "waiting for data" in told
    assert "harness" not in told
    assert "harness" in (tmp_path / "docs/performance.md").read_text()
    assert "harness" in perf()[1], "after a complete run a new one starts"


def test_an_interrupted_run_is_continued(parts: dict[str, Part], perf: Callable[..., tuple[int, str]]) -> None:
    def interrupted(_: Machine) -> Iterator[Measured]:
        raise KeyboardInterrupt

    whole, parts["second"] = parts["second"], interrupted
    assert perf()[0] == 130
    parts["second"] = whole
    code, told = perf()
    assert (code, "harness" in told) == (0, False)


@pytest.mark.parametrize("field", ["device", "name", "torch", "commit", "code"])
def test_parts_of_another_device_commit_or_version_are_not_mixed(
    perf: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    tmp_path: Path,
) -> None:
    here = Origin("cpu", "a processor", 2, "2.13", "3.11", "abc", "123")
    monkeypatch.setattr(command, "origin_of", lambda _: here)
    perf("--part", "first")
    file = tmp_path / "work/cpu/first.json"
    content = json.loads(file.read_text())
    content["origin"][field] = "another"
    file.write_text(json.dumps(content))
    told = perf("--part", "second")[1]
    assert "not used, as they were measured with another device, commit or version: first" in told
    assert "Not yet measured: first" in told
    assert not (tmp_path / "docs").exists()


def test_a_file_that_was_cut_off_is_measured_again(perf: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    perf("--part", "first")
    file = tmp_path / "work/cpu/first.json"
    file.write_text(file.read_text()[:50])
    code, told = perf()
    assert (code, "harness" in told) == (0, True)


def test_a_part_that_fails_says_why_and_the_others_go_on(
    parts: dict[str, Part], perf: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    def broken(_: Machine) -> Iterator[Measured]:
        yield Measured("half of it", 1.0, "ratio", 1.0, 1.0)
        raise RuntimeError("a reason")

    parts["first"] = broken
    code, told = perf()
    assert code == 1
    assert "failed: first: RuntimeError: a reason" in told
    assert "waiting for data" in told
    page = (tmp_path / "docs/performance.md").read_text()
    assert "half of it" in page
    assert "Missing: RuntimeError: a reason." in page
    assert "half of it" in perf()[1], "a part that has failed is measured again"


def test_a_part_whose_library_is_missing_is_left_out_by_name(
    parts: dict[str, Part], perf: Callable[..., tuple[int, str]]
) -> None:
    def needs(_: Machine) -> Iterator[Measured]:
        import no_such_library  # type: ignore[import-not-found]

        yield no_such_library

    parts["first"] = needs
    code, told = perf()
    assert code == 0
    assert "left out: first: no_such_library is not installed" in told


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--part", "first third"), "unknown part 'third'. Allowed: first, second."),
        (("--device", "cuda:7"), "device 'cuda:7' is not available"),
        (("--device", "gpu"), "unknown device 'gpu'"),
    ],
)
def test_wrong_usage_ends_with_2_and_the_remedy(
    perf: Callable[..., tuple[int, str]], arguments: tuple[str, ...], reason: str
) -> None:
    code, told = perf(*arguments)
    assert code == 2
    assert reason in told


def test_each_type_of_device_has_a_section_of_its_own(
    perf: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    perf()
    pretend_gpus(monkeypatch, 1)
    code, told = perf("--device", "cuda", "--part", "second,first")
    assert (code, told.splitlines()[0].split(",")[0]) == (0, "GPU 0 (cuda:0)")
    page = (tmp_path / "docs/performance.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("## ")][1] == "## cuda: GPU 0"
    assert "`make perf DEVICE=cuda:0`" in page
    assert page == page_text(read_runs(tmp_path / "docs/performance.json"))


def test_a_changed_file_is_another_origin(tmp_path: Path) -> None:
    for room in ("bench", "methods", "datasets", "docs"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("a = 1\n")
    before = code_digest(tmp_path)
    (tmp_path / "docs/a.py").write_text("a = 2\n")
    assert code_digest(tmp_path) == before
    (tmp_path / "methods/a.py").write_text("a = 2\n")
    assert code_digest(tmp_path) != before


def test_the_committed_page_is_what_the_numbers_beside_it_give() -> None:
    docs = store.ROOT / "docs"
    runs = read_runs(docs / "performance.json")
    assert runs["cpu"]
    assert page_text(runs) == (docs / "performance.md").read_text(encoding="utf-8")


def test_what_is_wanted() -> None:
    assert wanted("cuda", "resnet18 bf16: joint / reference loop") == 1.05
    assert wanted("cuda", "resnet18 fp32: agm / joint") == 1.30
    assert wanted("cuda", "resnet18 fp32: agm (zero_path=detach) / joint") is None
    assert wanted("cpu", "resnet18 fp32: harness / bare loop") == 1.02
    assert wanted("cpu", "mlp fp32: mcr / joint") == 2.0
    assert wanted("tpu", "mlp fp32: mcr / joint") is None
    assert [shown(x, unit) for x, unit in ((17.1, "ms"), (1234.5, "runs/h"), (3, "batches"))] == [
        "17.10 ms",
        "1,234 runs/h",
        "3 batches",
    ]
