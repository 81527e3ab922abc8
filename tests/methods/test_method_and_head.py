"""The table of methods and fusion heads: every cell trains, or is left out with the reason that the table gives."""

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.models.kinds import fusion_kinds
from mcr_bench.bench.planning.heads import method_and_head, reason_against_head
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.report.head_table import PAGE, markdown, with_table
from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.testing.fits import make_fit, step
from mcr_bench.bench.training.loop import fit_run, run_epoch, start
from mcr_bench.methods.base import Method, Needs
from mcr_bench.methods.terms.attention.one_head import OneHead

METHODS, HEADS = registry.shipped_methods(), sorted(fusion_kinds())
TRAINED = "trained"
WHOLE = ("joint", "unimodal", "ensemble")  # trained and tested as runs are
SETTINGS = {"epochs": "1", "batch_size": "8", "model.width": "6", "encoder.width": "8", "encoder.depth": "1"}
SMALL = {
    "tensor-fusion": {"hidden": "4"},
    "bottleneck-tokens": {"layers": "1"},
    "cross-modal": {"layers": "1", "size": "4", "heads": "2"},
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """(method, head) -> 'trained', or why the plan leaves the method out, on a vector and a padded sequence."""
    folder = tmp_path_factory.mktemp("method_and_head")
    draw = np.random.default_rng(0)
    y = np.arange(24) % 3
    arrays = {
        f"x_{m}": draw.normal(size=(24, *s)).astype("float32") for m, s in {"voice": (4,), "pose": (5, 3)}.items()
    }
    split, lengths = np.repeat(["train", "val", "test"], 8), draw.integers(1, 6, 24)
    np.savez(folder / "tiny.npz", y=y, split=split, length_pose=lengths, **arrays)
    with chdir(folder):
        return dict(result for head in HEADS for result in _of_head(head, folder))


def _of_head(head: str, folder: Path) -> Iterator[tuple[tuple[str, str], str]]:
    own = {f"model.{key}": value for key, value in SMALL.get(head, {}).items()}
    overrides = {key: [value] for key, value in {**SETTINGS, **own, "model.fusion": head}.items()}
    plan = make_plan(Request(METHODS, ["tiny.npz"], seeds=[0], overrides=overrides))
    yield from (((method, head), reason) for _, method, reason in plan.skipped)
    trained = {run.method for run in plan.runs if _learns(run, folder)}
    yield from (((method, head), TRAINED) for method in trained)


def _learns(run: RunSpec, home: Path) -> bool:
    """Train a run for one epoch, or where that is cheap or others start from it to its end; whether losses are finite.

    A single modality goes through late-linear whatever the head, so that runs of one modality are trained once.
    """
    weights = {needed.key: _unsigned(_weights(needed, home)) for needed in run.dependencies}
    own = _weights(run, home)
    job = Job(run, "cpu", home / run.key, weights, own)
    if run.role == "unimodal" and own.exists():
        return True
    if run.method not in WHOLE:
        training = start(job)
        run_epoch(training)
        return bool(np.isfinite(training.progress.history[-1]["metrics"]["val/loss"]))
    events: list[Event] = []
    fit_run(job, events.append)
    (done,) = [event for event in events if isinstance(event, RunDone)]
    return bool(np.isfinite(done.metrics["test/loss"]))


def _weights(run: RunSpec, home: Path) -> Path:
    return home / f"{run.modalities[0] if run.role == 'unimodal' else run.key}.pt"


def _unsigned(path: Path) -> Path:
    """The same weights in a file that names no run, as runs of other heads start from them too."""
    plain = path.with_suffix(".plain")
    if not plain.exists():
        torch.save(torch.load(path, weights_only=True), plain)
    return plain


@pytest.mark.parametrize("method", METHODS)
def test_every_cell_trains_or_is_left_out_with_its_reason(method: str, outcomes: dict[tuple[str, str], str]) -> None:
    expected = {head: reason or TRAINED for head, reason in method_and_head()[method].items()}
    assert {head: outcomes.get((method, head), "failed") for head in HEADS} == expected


@pytest.mark.parametrize(
    ("method", "head"),
    [(method, head) for method, heads in method_and_head().items() for head, reason in heads.items() if reason],
)
def test_what_the_table_leaves_out_cannot_be_trained(method: str, head: str) -> None:
    made: Method = build(registry.method(method), {})
    with pytest.raises(Exception, match=r"features of its own making|additive|it needs model\.fusion="):
        _stepped(made, head)


def _stepped(method: Method, head: str) -> None:
    make_fit(method, fusion=head)
    step(method)


@pytest.mark.parametrize("method", METHODS)
def test_the_two_directions_of_the_table_agree_with_needs(method: str) -> None:
    cls = registry.method(method)
    for head, kind in fusion_kinds().items():
        reason = reason_against_head(cls, kind)
        alone = cls.role == "unimodal"
        assert bool(reason) == (
            not alone
            and (
                (isinstance(cls.needs, OneHead) and cls.needs.head != head)
                or (cls.needs.additive_fusion and not kind.additive)
                or (cls.needs.own_features and bool(kind.reads))
            )
        ), head


def test_a_method_and_a_head_for_other_numbers_of_modalities_do_not_meet() -> None:
    class Three(Method):
        name = "three"
        needs = Needs(at_least=3)

    class Two(Three):
        needs = Needs(at_least=2, at_most=2)

    assert reason_against_head(Three, fusion_kinds()["film"]) == "takes 3 or more modalities, but film joins 2"
    assert reason_against_head(Two, fusion_kinds()["film"]) is None
    assert reason_against_head(Three, fusion_kinds()["cross-modal"]) is None


def test_the_page_has_the_table_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, method_and_head()) == page, "run `make heads`"
    table = markdown({"a": {"x": None, "y": "needs y itself"}, "b": {"x": "reads, but x reads z", "y": None}})
    assert table.splitlines() == [
        "| method | x | y |",
        "| --- | --- | --- |",
        "| a | yes | no (1) |",
        "| b | no (2) | yes |",
        "",
        "1. needs y itself",
        "2. reads, but it reads z",
    ]
