"""All methods from beginning to end, on generated vectors and on a file of arrays, in every precision."""

from pathlib import Path

from mcr_bench.bench.catalog.registry import method_names
from mcr_bench.bench.planning.plan import Plan
from mcr_bench.tests.gpu.checks import Place
from mcr_bench.tests.gpu.staying import Kept, train_staying
from mcr_bench.tests.gpu.training import array_file, planned, require_equal


def synthetic(place: Place) -> str:
    """Two seeds of every method on generated vectors."""
    return _all_methods(place, "synthetic")


def arrays(place: Place) -> str:
    """Two seeds of every method on a file with three modalities: vectors, sequences and images; with --deterministic.

    The first seed is trained twice, and has the same weights and predictions in every bit.
    """
    plan = _planned(place, str(array_file(place.folder)), seeds=2)
    first = _finished(plan, place, place.folder / "runs", deterministic=True)
    again = [spec for spec in plan.runs if spec.seed == 0]
    require_equal(first, train_staying(again, place.folder / "again", place, True), [spec.key for spec in again])
    return f"{_told(plan)}, {len(again)} of them twice"


def tf32(place: Place) -> str:
    """A method of each kind in TF32."""
    return _all_methods(
        place, str(array_file(place.folder)), seeds=1, methods=["joint", "mcr", "agm"], precision="tf32"
    )


def bf16(place: Place) -> str:
    """Every method in bfloat16."""
    return _all_methods(place, str(array_file(place.folder)), seeds=1, precision="bf16")


def _all_methods(place: Place, dataset: str, seeds: int = 2, methods: list[str] | None = None, **settings: str) -> str:
    """Every run finishes with plausible numbers; returns how many there were."""
    plan = _planned(place, dataset, seeds, methods, **settings)
    _finished(plan, place, place.folder / "runs", precision=settings.get("precision", "fp32"))
    return _told(plan)


def _planned(place: Place, dataset: str, seeds: int, methods: list[str] | None = None, **settings: str) -> Plan:
    methods = ["joint", "mcr"] if place.small else methods or method_names()
    return planned(methods, dataset, seeds, epochs="1" if place.small else "2", **settings)


def _finished(plan: Plan, place: Place, folder: Path, deterministic: bool = False, precision: str = "fp32") -> Kept:
    """Every run has finished on the device and in the precision that were asked for, with plausible numbers."""
    kept = train_staying(plan.runs, folder, place, deterministic)
    for spec in plan.runs:
        done = kept.done[spec.key]
        accuracy = done.metrics["test/accuracy"]
        assert 0 <= accuracy <= 1, f"{spec.label}: accuracy {accuracy}"
        assert (done.tags["device/name"] != "cpu") == place.gpu, f"{spec.label} was trained on another device"
        assert spec.training["precision"] == precision, f"{spec.label} was trained in another precision"
        assert not done.tags.get("missing"), f"{spec.label}: missing diagnostics: {done.tags['missing']}"
    return kept


def _told(plan: Plan) -> str:
    return f"{len(plan.runs)} runs of {len({spec.method for spec in plan.runs})} methods"
