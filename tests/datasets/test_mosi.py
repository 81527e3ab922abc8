"""CMU-MOSI and CMU-MOSEI: from either published form to padded, standardised parts; class forms; presets."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset, method
from mcr_bench.bench.catalog.resolve import resolve_dataset, resolve_run
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.encoders.transformer import SequenceTransformer, heads
from mcr_bench.bench.problem.metrics import metrics_of
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.clips import rows as _rows
from mcr_bench.datasets.clips import sequences as _sequences
from mcr_bench.datasets.clips.rows import View
from mcr_bench.datasets.clips.sentiment import targets
from mcr_bench.datasets.mosei import Mosei
from mcr_bench.datasets.mosi import Mosi
from mcr_bench.tests.support.media.mosi_files import (
    ALL,
    CHANNELS,
    DIALS,
    MOSEI_CHANNELS,
    SMALL,
    VIDEOS,
    prepared,
    sample,
    score,
    segments,
    write_pickle,
    write_sequences,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Mosi:
    folder = tmp_path_factory.mktemp("mosi")
    return prepared(folder, write_pickle(folder / "raw"))


def test_are_registered_and_say_what_to_bring(tmp_path: Path) -> None:
    for name, cls, pickled in (("mosi", Mosi, "mosi_data.pkl"), ("mosei", Mosei, "mosei_senti_data.pkl")):
        assert dataset(name) is cls
        with pytest.raises(UserError, match=f"{name} is not prepared") as caught:
            cls(tmp_path / name).facts()
        for text in (pickled, "standard_folds.json", f"mcr-bench data prepare {name} --source DIR", cls.card.homepage):
            assert text in str(caught.value)


def test_facts_and_protocol(data: Mosi) -> None:
    facts = data.facts()
    assert list(facts.modalities) == ["text", "audio", "video"]
    assert {m: (f.shape, f.padded) for m, f in facts.modalities.items()} == {
        m: ((50, size), True) for m, size in SMALL.items()
    }
    assert facts.task.regression
    protocol = data.protocols()["standard"]
    assert protocol.metric in {m.name for m in metrics_of(facts.task)}
    assert protocol.split == "standard folds of 52/10/31 videos for training, validation and test (4/2/2 here)"
    assert "binary_accuracy_nonzero" in protocol.note
    assert "binary_accuracy_nonzero" in {m.name for m in metrics_of(facts.task)}


def test_parts_are_those_of_the_file_and_videos_are_groups(data: Mosi) -> None:
    splits = data.load("standard", 1, 0, ALL)
    for name, part in (("train", splits.train), ("valid", splits.val), ("test", splits.test)):
        wanted = {f"{v}[{10.0 * k}-{10.0 * k + 8}]": (v, score(v, k)) for v, k in segments(VIDEOS[name])}
        groups = part.groups or []
        assert dict(zip(part.ids, groups, strict=True)) == {i: v for i, (v, _) in wanted.items()}
        assert part.target.dtype == torch.float32
        assert part.target.tolist() == pytest.approx([wanted[i][1] for i in part.ids])


def test_samples_are_stripped_padded_and_standardised_by_the_real_steps_of_training(data: Mosi) -> None:
    splits = data.load("standard", 1, 0, ALL)
    real = {m: np.concatenate([sample(v, k)[m] for v, k in segments(VIDEOS["train"])]).astype(float) for m in SMALL}
    test = splits.test.batch(torch.arange(8)).inputs
    for row, id_ in enumerate(splits.test.ids):
        raw = sample(id_.split("[")[0], int(float(id_.split("[")[1].split("-")[0]) / 10))
        for m, x in raw.items():
            result = test.values[m][row].numpy()
            assert int(test.lengths[m][row]) == len(x)
            assert result[: len(x)] == pytest.approx((x - real[m].mean(0)) / real[m].std(0), abs=1e-4)
            assert (result[len(x) :] == 0).all()


def test_only_the_modalities_asked_for_are_loaded(data: Mosi, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, real = [], _rows.standardised_view

    def standardised(cache: Cache, field: str, *rest: Any, **how: Any) -> View:
        measured.append(field)
        return real(cache, field, *rest, **how)

    monkeypatch.setattr(_sequences, "standardised_view", standardised)
    splits = data.load("standard", 1, 0, ("video", "text"))
    assert list(splits.train.values) == list(splits.train.lengths) == measured == ["text", "video"]


@pytest.mark.parametrize("protocol", [4, 5])
def test_every_protocol_of_pickle_gives_the_same_cache(protocol: int, data: Mosi, tmp_path: Path) -> None:
    other = prepared(tmp_path, write_pickle(tmp_path / "raw", protocol=protocol))
    assert other.fingerprint() == data.fingerprint()


def test_aligned_sequences_give_the_same_rows_as_the_pickle(data: Mosi, tmp_path: Path) -> None:
    other = prepared(tmp_path, write_sequences(tmp_path / "raw"))
    mine, theirs = (d.load("standard", 1, 0, ALL).train for d in (data, other))
    assert theirs.ids[:2] == ["-UUCSKoHeMA[0]", "-UUCSKoHeMA[1]"]
    assert mine.groups == theirs.groups
    at = torch.arange(16)
    for m in SMALL:
        assert torch.equal(mine.batch(at).inputs.values[m], theirs.batch(at).inputs.values[m])
    assert other.missing_clips(other.cache) == {"standard_folds.json": []}


def test_videos_that_the_folds_name_in_vain_are_missing(tmp_path: Path) -> None:
    source = write_sequences(tmp_path / "raw")
    folds = source / "standard_folds.json"
    folds.write_text(folds.read_text().replace('"286943"', '"286943", "absent"'))
    other = prepared(tmp_path, source)
    assert other.missing_clips(other.cache) == {"standard_folds.json": ["absent"]}


def test_class_forms_share_the_cache_of_the_scores(data: Mosi) -> None:
    scores = torch.cat([torch.tensor([score(v, k) for v, k in segments(VIDEOS["valid"])])])
    for task, names, of in (
        ("binary", ("negative", "non-negative"), {-3.0: 0, -1.0: 0, 0.0: 1, 2.4: 1}),
        ("seven", ("-3", "-2", "-1", "0", "1", "2", "3"), {-3.0: 0, -1.0: 2, 0.0: 3, 2.4: 5}),
    ):
        other = Mosi(data.location, task=task, **DIALS)  # type: ignore[arg-type]
        assert other.folder == data.folder
        assert other.facts().class_names == names
        target = other.load("standard", 1, 0, ("text",)).val.target
        assert target.dtype == torch.int64
        assert sorted(target.tolist()) == sorted(of[round(float(s), 1)] for s in scores)
        assert other.protocols()["standard"].metric == "accuracy"
    assert data.load("standard", 1, 0, ("text",)).val.target.dtype == torch.float32


def test_targets_at_the_borders() -> None:
    scores = np.array([-3, -0.5, -0.2, 0, 0.5, 1.5, 3.0])
    assert targets(scores, "binary").tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert targets(scores, "seven").tolist() == [0, 3, 3, 3, 3, 5, 6]
    assert targets(scores, "regression").tolist() == scores.tolist()


def test_mosei_in_its_own_sizes(tmp_path: Path) -> None:
    data = Mosei(tmp_path / "data/mosei")
    data.prepare(Preparation(write_pickle(tmp_path / "raw", "mosei_senti_data.pkl", 4, channels=MOSEI_CHANNELS)))
    assert {m: f.shape for m, f in data.facts().modalities.items()} == {m: (50, c) for m, c in MOSEI_CHANNELS.items()}
    assert len(data.load("standard", 1, 0, ALL).test) == 8


@pytest.mark.parametrize("name", ["mosi", "mosei"])
@pytest.mark.parametrize("preset", ["paper", "paper-vt", "paper-vta"])
def test_presets_make_the_papers_encoders_at_full_size(name: str, preset: str, tmp_path: Path) -> None:
    """1x1 convolution to 40, five layers of five heads; one step forward and backward; padding does not matter."""
    cls = dataset(name)
    assert next(iter(presets_of(cls))) == "paper"
    result = presets_of(cls)[preset]
    adapter = cls(tmp_path, **resolve_dataset(result.values, cls))
    kept = ("text", "video") if preset == "paper-vt" else ALL
    settings = resolve_run(result.values, method("joint"), cls, ALL)
    assert settings.training["monitor"] == "binary_accuracy_nonzero"
    assert isinstance(adapter, Mosi | Mosei)
    shapes = adapter.modalities()
    sizes = CHANNELS if name == "mosi" else MOSEI_CHANNELS
    assert {m: s.shape for m, s in shapes.items()} == {m: (50, c) for m, c in sizes.items()}
    encoders = {m: build(EncoderSettings, settings.encoders[m]) for m in kept}
    task = Task(None)
    model = build_model({m: shapes[m] for m in kept}, task, build(ModelSettings, settings.model), encoders)
    encoder = model.encoders["text"]
    assert isinstance(encoder, SequenceTransformer)
    assert (encoder.embed.out_features, len(encoder.layers), heads(40)) == (40, 5, 5)
    x, lengths = torch.randn(3, 50, 300), torch.tensor([50, 7, 1])
    model.eval()
    before = encoder(x, lengths)
    x[1, 7:] = 100.0
    assert torch.allclose(encoder(x, lengths), before)
    task.loss(before[:, :1], torch.zeros(3)).backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert resolve_run(result.values, method("mcr"), cls, ALL).method["lambda_mipd"] in (0.01, 0.001)


def test_workers_that_decode_import_no_torch() -> None:
    code = "import sys, mcr_bench.datasets.raw.mosi_raw; print('torch' in sys.modules, 'h5py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
