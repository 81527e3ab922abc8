"""All methods from beginning to end, on generated vectors and on a file of arrays, in every precision."""

from mcr_bench.bench.catalog.registry import method_names
from mcr_bench.tests.gpu.checks import Place
from mcr_bench.tests.gpu.staying import train_staying
from mcr_bench.tests.gpu.training import array_file, planned


def synthetic(place: Place) -> str:
    """Two seeds of every method on generated vectors."""
    return _all_methods(place, "synthetic")


def arrays(place: Place) -> str:
    """Two seeds of every method on a file with three modalities: vectors, sequences and images."""
    return _all_methods(place, str(array_file(place.folder)))


def tf32(place: Place) -> str:
    """A method of each kind in TF32."""
    return _all_methods(
        place, str(array_file(place.folder)), seeds=1, methods=["joint", "mcr", "agm"], precision="tf32"
    )


def bf16(place: Place) -> str:
    """Every method in bfloat16."""
    return _all_methods(place, str(array_file(place.folder)), seeds=1, precision="bf16")


def _all_methods(place: Place, dataset: str, seeds: int = 2, methods: list[str] | None = None, **settings: str) -> str:
    """Every run finishes on the device that was asked for, with plausible numbers; returns how many there were."""
    methods = ["joint", "mcr"] if place.small else methods or method_names()
    plan = planned(methods, dataset, seeds, epochs="1" if place.small else "2", **settings)
    kept = train_staying(plan.runs, place.folder / "runs", place)
    for spec in plan.runs:
        done = kept.done[spec.key]
        accuracy = done.metrics["test/accuracy"]
        assert 0 <= accuracy <= 1, f"{spec.label}: accuracy {accuracy}"
        assert not done.tags.get("missing"), f"{spec.label}: missing diagnostics: {done.tags['missing']}"
        precision = spec.training["precision"]
        assert precision == settings.get("precision", "fp32"), f"{spec.label} was trained in {precision}"
    skipped = {method for _, method, _ in plan.skipped}
    return f"{len(plan.runs)} runs of {len(set(methods) - skipped)} methods"
