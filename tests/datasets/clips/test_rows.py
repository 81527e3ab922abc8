"""Samples of a cache: order, statistics in blocks, lengths; training from a cache stays small in memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.testing.waits import META, Waits
from mcr_bench.bench.training import reader as _reader
from mcr_bench.datasets.base import Modality, Split, Splits, standardise
from mcr_bench.datasets.clips import rows as _rows
from mcr_bench.datasets.clips.rows import CachedRows, Plain, Standardised, View, standardised_view
from mcr_bench.datasets.clips.views import Flow, Frames

SLOTS = np.array([4, 0, 6, 3, 7, 1])  # of the six kept clips, out of eight slots
CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    """Eight slots, two of them holes (NaN where a number can be), six clips in another order than on disk."""
    rng = np.random.default_rng(0)
    holes = np.setdiff1d(np.arange(8), SLOTS)
    arrays = {
        "vector": rng.normal(100, 3, (8, 5)).astype(np.float32),
        "steps": rng.normal(-2, 3, (8, 7, 2)).astype(np.float16),
        "wave": rng.normal(0.5, 2, (8, 40)).astype(np.float32),
        "picture": rng.normal(9, 2, (8, 3, 4, 4)).astype(np.float32),
        "clip": rng.normal(9, 2, (8, 2, 3, 4, 4)).astype(np.float32),
        "video": rng.integers(0, 256, (8, 2, 3, 16, 16)).astype(np.uint8),
        "flow": rng.integers(0, 256, (8, 2, 2, 16, 16)).astype(np.uint8),
        "aspect": np.linspace(0.5, 2, 8, dtype=np.float32),
    }
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            array[holes] = np.nan
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays}
    lengths = np.array([7, 1, 3, 5, 2, 6])
    for clip, slot in enumerate(SLOTS):
        arrays["steps"][slot, lengths[clip] :] = 0
    np.save(tmp_path / "steps.npy", arrays["steps"])
    return SimpleNamespace(
        rows=SLOTS,
        array=mapped.__getitem__,
        scalars=lambda name: np.asarray(mapped[name][SLOTS]),
        lengths=lambda _: lengths,
    )


def kept(cache: Any, name: str) -> Tensor:
    """The six clips of a field in the order of the index."""
    return torch.from_numpy(np.asarray(cache.array(name))[SLOTS].astype(np.float32))


def test_rows_come_in_the_order_that_is_asked_for(cache: Any) -> None:
    at = np.array([5, 2, 0, 3])
    rows = CachedRows(cache, Plain("vector"), at)
    asked = torch.tensor([3, 0, 0, 2, 1])
    assert torch.equal(rows[asked], kept(cache, "vector")[at][asked])
    assert rows.shape == (4, 5)


def test_half_precision_and_bytes_become_float32(cache: Any) -> None:
    at = np.arange(6)
    for name in ("steps", "video"):
        rows = CachedRows(cache, Plain(name), at)
        assert rows[torch.tensor([1])].dtype == torch.float32
        assert torch.equal(rows[torch.arange(6)], kept(cache, name))


def test_batches_are_copies_and_the_file_is_never_written(cache: Any) -> None:
    rows = CachedRows(cache, Plain("vector"), np.arange(6))
    before = kept(cache, "vector")
    rows[torch.arange(6)].zero_()
    assert torch.equal(rows[torch.arange(6)], before)


def test_views_get_the_facts_of_their_rows(cache: Any) -> None:
    seen: list[dict[str, Tensor]] = []

    class Spy(View):
        field, padded, scalars = "steps", True, ("aspect",)

        def evaluate(self, raw: Tensor, facts: dict[str, Tensor]) -> Tensor:
            seen.append(facts)
            return raw.float()

    at = np.array([4, 1, 0])
    _ = CachedRows(cache, Spy(), at)[torch.tensor([2, 0])]
    assert seen[0]["aspect"].tolist() == cache.scalars("aspect")[[0, 4]].tolist()
    assert seen[0]["length"].tolist() == [7, 2]


def test_augmentation_follows_the_seed_and_evaluation_none(cache: Any) -> None:
    rows, index = CachedRows(cache, Frames("video", 8), np.arange(6)), torch.arange(6)
    assert torch.equal(rows.augmented(index, 1), rows.augmented(index, 1))
    assert not torch.equal(rows.augmented(index, 1), rows.augmented(index, 2))
    assert torch.equal(rows[index], rows[index])
    assert rows.shape == (6, 2, 3, 8, 8)


def test_plain_rows_are_not_augmented(cache: Any) -> None:
    rows, index = CachedRows(cache, Plain("vector"), np.arange(6)), torch.tensor([4, 1])
    assert torch.equal(rows.augmented(index, 2**62 - 1), rows[index])


def small_blocks(monkeypatch: pytest.MonkeyPatch, values: int = 20) -> None:
    """Blocks of so few values that every part takes several, the last of them short."""
    monkeypatch.setattr(_rows, "BLOCK", values)


def test_mean_is_that_of_evaluation_in_blocks(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    at = np.array([5, 2, 0, 3, 1])
    for view in (Plain("vector"), Plain("picture"), Frames("video", 8)):
        rows = CachedRows(cache, view, at)
        expected = rows[torch.arange(5)].double().mean(0)
        assert torch.allclose(rows.mean().double(), expected, atol=1e-5)
        assert rows.mean().dtype == torch.float32


def test_padded_steps_count_neither_in_means_nor_after_standardising(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    at = np.arange(6)
    rows = CachedRows(cache, Plain("steps", padded=True), at)
    lengths, x = cache.lengths("steps"), kept(cache, "steps").double()
    expected = [np.mean([x[i, t].tolist() for i in range(6) if t < lengths[i]], axis=0) for t in range(7)]
    assert torch.allclose(rows.mean().double(), torch.tensor(np.array(expected)), atol=1e-5)
    shown = CachedRows(cache, standardised_view(cache, "steps", at, padded=True), at)[torch.arange(6)]
    for i, length in enumerate(lengths):
        assert not shown[i, length:].any()
        assert shown[i, :length].all()


@pytest.mark.parametrize(
    ("name", "padded"), [("vector", False), ("picture", False), ("clip", False), ("steps", True), ("wave", False)]
)
def test_standardised_as_data_in_memory_is(
    cache: Any, name: str, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics of the training rows alone, per channel; the same numbers as `standardise` gives."""
    small_blocks(monkeypatch, 30)
    train, other = np.array([0, 2, 3, 5]), np.array([1, 4])
    view = standardised_view(cache, name, train, padded)
    splits = [in_memory(cache, name, at, padded) for at in (train, other, other)]
    parts = standardise(Splits(*splits))
    for at, part in ((train, parts.train), (other, parts.test)):
        expected = part.values[name]
        assert isinstance(expected, Tensor)
        assert torch.allclose(CachedRows(cache, view, at)[torch.arange(len(at))], expected, atol=1e-4)


def in_memory(cache: Any, name: str, at: Array, padded: bool) -> Split:
    lengths = {name: torch.from_numpy(cache.lengths(name)[at])} if padded else {}
    return Split({name: kept(cache, name)[at]}, torch.zeros(len(at)), [str(i) for i in at], lengths=lengths)


def test_a_waveform_is_standardised_as_a_whole(cache: Any) -> None:
    at = np.arange(6)
    shown = CachedRows(cache, standardised_view(cache, "wave", at, whole=True), at)[torch.arange(6)]
    x = kept(cache, "wave").double()
    assert torch.allclose(shown.double(), (x - x.mean()) / x.std(correction=0), atol=1e-5)


def test_a_constant_channel_becomes_zero() -> None:
    rows = np.tile(np.array([[3.0, 1.0]], np.float32), (4, 1))
    rows[:, 1] = [0, 1, 2, 3]
    constant: Any = SimpleNamespace(rows=np.arange(4), array=lambda _: rows)
    view = standardised_view(constant, "x", np.arange(4))
    shown = view.evaluate(torch.from_numpy(rows), {})
    assert not shown[:, 0].any()
    assert view.std[0] == 1


def test_a_channel_of_small_numbers_is_not_constant() -> None:
    rows = (1e-13 * (np.arange(8) % 2))[:, None].astype(np.float32)
    small: Any = SimpleNamespace(rows=np.arange(8), array=lambda _: rows)
    view = standardised_view(small, "x", np.arange(8))
    assert view.evaluate(torch.from_numpy(rows), {})[:, 0].tolist() == pytest.approx([-1, 1] * 4, abs=1e-5)


def test_a_large_mean_leaves_the_deviation_its_digits() -> None:
    rows = (1e6 + np.arange(8) % 2)[:, None].astype(np.float32)
    far: Any = SimpleNamespace(rows=np.arange(8), array=lambda _: rows)
    assert standardised_view(far, "x", np.arange(8)).std.item() == pytest.approx(0.5, abs=1e-6)


def test_rows_on_the_cpu_stay_what_they_are(cache: Any) -> None:
    rows = CachedRows(cache, Standardised("vector", torch.zeros(5), torch.ones(5)), np.arange(6))
    assert torch.equal(rows.to(CPU)[torch.arange(2)], rows[torch.arange(2)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_are_made_on_the_device(cache: Any) -> None:
    gpu, index, at = torch.device("cuda"), torch.tensor([4, 0]), np.arange(6)
    for view in (standardised_view(cache, "steps", at, padded=True), Frames("video", 8)):
        rows = CachedRows(cache, view, at)
        moved = rows.to(gpu)
        for one, other in ((rows[index], moved[index.to(gpu)]), (rows.mean(), moved.mean())):
            assert other.device.type == "cuda"
            assert (one - other.cpu()).abs().max() < 0.02


@pytest.mark.parametrize("view", [Flow("flow", 8, zero=128), Plain("steps"), "standardised"])
def test_making_a_batch_of_rows_on_a_device_never_waits_for_it(
    view: View | str, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rows that lie on a device without data; those that are read ahead are made into batches by the same code."""
    monkeypatch.setattr(_reader, "helps", lambda _: True)
    at = np.arange(6)
    chosen = view if isinstance(view, View) else standardised_view(cache, "steps", at, padded=True)
    rows = CachedRows(cache, chosen, at).to(META).brought()
    split = Split({"m": rows}, torch.zeros(6, device=META), list("abcdef"))
    with _reader.reading(split, torch.arange(6), 4) as parts, Waits() as waits:
        shapes = [tuple(split.training_batch(index).inputs.values["m"].shape) for index in parts]
    assert shapes == [(4, *rows.shape[1:]), (2, *rows.shape[1:])]
    assert waits.seen == []


def test_a_split_asks_all_its_modalities_with_one_seed(cache: Any) -> None:
    view = Frames("video", 8)
    split = Split(
        {"a": CachedRows(cache, view, np.arange(6)), "b": CachedRows(cache, view, np.arange(6))},
        torch.zeros(6),
        list("abcdef"),
    )
    torch.manual_seed(0)
    batch = split.training_batch(torch.tensor([3, 1]))
    assert torch.equal(batch.inputs.values["a"], batch.inputs.values["b"])
    again = split.training_batch(torch.tensor([3, 1]))
    assert not torch.equal(batch.inputs.values["a"], again.inputs.values["a"])
    torch.manual_seed(0)
    assert torch.equal(batch.inputs.values["a"], split.training_batch(torch.tensor([3, 1])).inputs.values["a"])
    assert split.to(CPU).mean()["a"].shape == Modality((2, 3, 8, 8)).shape


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is Linux's")
def test_reading_a_cache_takes_no_memory_of_its_size(tmp_path: Path) -> None:
    """An epoch and the mean of 256 MiB (a sparse file); train_memory.py does it with the whole harness."""
    video = np.lib.format.open_memmap(tmp_path / "video.npy", "w+", np.uint8, (2048, 2, 1, 256, 256))
    cache: Any = SimpleNamespace(rows=np.arange(2048), array=lambda _: np.load(tmp_path / "video.npy", mmap_mode="r"))
    rows = CachedRows(cache, Plain("video"), np.arange(2048))
    before, peak = anonymous_mib(), 0.0
    split = Split({"video": rows}, torch.zeros(2048), [str(i) for i in range(2048)])
    for index in torch.randperm(2048).split(16):
        split.training_batch(index)
        peak = max(peak, anonymous_mib())
    rows.mean()
    assert video.nbytes / 2**20 == 256
    assert max(peak, anonymous_mib()) - before < 128


def anonymous_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))
