"""CMU-MOSI and CMU-MOSEI: from either published form to padded, standardised parts; bad samples and bad files."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.metrics import metrics_of
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.transformer import SequenceTransformer, heads
from mcr_bench.bench.presets import presets_of
from mcr_bench.bench.registry import dataset, method
from mcr_bench.bench.resolve import resolve_dataset, resolve_run
from mcr_bench.bench.settings import build
from mcr_bench.bench.task import Task
from mcr_bench.bench.training_settings import EncoderSettings, ModelSettings
from mcr_bench.datasets import _rows, _sentiment
from mcr_bench.datasets._cache import Cache
from mcr_bench.datasets._mosi_raw import decode
from mcr_bench.datasets._recipe import Clip
from mcr_bench.datasets._rows import View
from mcr_bench.datasets._sentiment import targets
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.mosei import Mosei
from mcr_bench.datasets.mosi import Mosi
from mcr_bench.tests.mosi_files import (
    CHANNELS,
    MOSEI_CHANNELS,
    SMALL,
    VIDEOS,
    multibench,
    sample,
    score,
    segments,
    write_csd,
    write_pickle,
    write_sequences,
)

DIALS = {f"{m}_channels": size for m, size in SMALL.items()}
ALL = ("text", "audio", "video")
SETTINGS = {"steps": 50, "silence": "drop"}
Content = dict[str, dict[str, Any]]


def mosi(folder: Path, **dials: Any) -> Mosi:
    return Mosi(folder / "data/mosi", **{**DIALS, **dials})


def prepared(folder: Path, source: Path, **dials: Any) -> Mosi:
    data = mosi(folder, **dials)
    data.prepare(Preparation(source))
    return data


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
            found = test.values[m][row].numpy()
            assert int(test.lengths[m][row]) == len(x)
            assert found[: len(x)] == pytest.approx((x - real[m].mean(0)) / real[m].std(0), abs=1e-4)
            assert (found[len(x) :] == 0).all()


def test_only_the_modalities_asked_for_are_loaded(data: Mosi, monkeypatch: pytest.MonkeyPatch) -> None:
    measured, real = [], _rows.standardised_view

    def standardised(cache: Cache, field: str, *rest: Any, **how: Any) -> View:
        measured.append(field)
        return real(cache, field, *rest, **how)

    monkeypatch.setattr(_sentiment, "standardised_view", standardised)
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


def clip_of(tmp_path: Path, **values: Any) -> Clip:
    """One segment of .csd files with the given features."""
    for m in ALL:
        x = np.array(values[m], np.float64)
        write_csd(tmp_path / f"{m}.csd", {"v[0]": (x, np.zeros((len(x), 2)))})
    return Clip("v[0]", 0.0, "v", {m: tmp_path / f"{m}.csd" for m in ALL})


def test_leading_steps_without_text_are_stripped_from_every_modality(tmp_path: Path) -> None:
    clip = clip_of(
        tmp_path, text=[[0, 0], [0, 0], [0, 5], [0, 0], [1, 1]], audio=np.arange(5)[:, None], video=[[9]] * 5
    )
    rows = decode(clip, SETTINGS)
    assert rows["text"].tolist() == [[0, 5], [0, 0], [1, 1]]  # zeros between words stay
    assert rows["audio"].tolist() == [[2], [3], [4]]
    assert rows["video"].dtype == np.float32
    assert decode(clip, {**SETTINGS, "steps": 2})["audio"].tolist() == [[2], [3]]


inf, nan = np.inf, np.nan


@pytest.mark.parametrize(
    ("values", "silence", "reason"),
    [
        ({"text": [[0], [0]]}, "drop", "no text"),
        ({"audio": [[1], [nan]]}, "zero", "audio has 1 values that are nan"),
        ({"audio": [[inf], [-inf]]}, "zero", "audio has 1 values that are inf"),
        ({"audio": [[1], [-inf]]}, "drop", "audio has 1 values that are -inf (dataset.silence=zero replaces it)"),
        ({"video": [[1], [-inf]]}, "zero", "video has 1 values that are -inf"),
        ({"text": [[1], [nan]]}, "zero", "text has 1 values that are nan"),
        ({"video": [[1e300], [0]]}, "drop", "video has 1 values that are inf"),
    ],
)
def test_segments_that_cannot_be_used_say_why(
    values: dict[str, Any], silence: str, reason: str, tmp_path: Path
) -> None:
    clip = clip_of(tmp_path, **{**{m: [[1], [2]] for m in ALL}, **values})
    with pytest.raises(Unusable) as caught:
        decode(clip, {**SETTINGS, "silence": silence})
    assert str(caught.value).startswith(reason)


def test_silence_becomes_zero_where_the_dial_says_so(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, text=[[1], [2]], audio=[[1, -inf], [-inf, 2]], video=[[1], [2]])
    assert decode(clip, {**SETTINGS, "silence": "zero"})["audio"].tolist() == [[1, 0], [0, 2]]


def damaged(content: Content) -> None:
    """One training sample without text, one with NaN, one with silence."""
    content["train"]["text"][2] = 0
    content["train"]["audio"][5, -1, 0] = nan
    content["train"]["audio"][7, -1, 0] = -inf


def test_bad_samples_are_quarantined_with_reasons_and_the_rest_is_kept(tmp_path: Path) -> None:
    data = mosi(tmp_path)
    report = data.prepare(Preparation(write_pickle(tmp_path / "raw", change=damaged)))
    assert "3 in quarantine" in report
    for text in ("no text: all of its steps are zero", "audio has 1 values that are nan", "dataset.silence=zero"):
        assert text in report
    assert len(data.load("standard", 1, 0, ALL).train) == 13
    assert len(data.verify().inventory.left_out) == 3
    zeroed = prepared(tmp_path, tmp_path / "raw", silence="zero")
    assert len(zeroed.load("standard", 1, 0, ALL).train) == 14
    assert zeroed.folder != data.folder
    assert "Up to date" in data.prepare(Preparation(tmp_path / "raw"))


def test_ids_in_every_published_form(tmp_path: Path) -> None:
    for form, first, group in (
        ("spans", "-UUCSKoHeMA[0.0-8.0]", "-UUCSKoHeMA"),
        ("brackets", "-UUCSKoHeMA[0]", "-UUCSKoHeMA"),
        ("video", "-UUCSKoHeMA#1", "-UUCSKoHeMA"),
    ):
        clips = mosi(tmp_path).scan(write_pickle(tmp_path / form, form=form), []).clips
        assert (clips[0].id, clips[0].group) == (first, group)
        assert {clip.group for clip in clips} == {v for videos in VIDEOS.values() for v in videos}
        assert len({clip.id for clip in clips}) == 32


def test_underscores_end_a_video_only_after_a_name_of_youtube_or_vimeo(tmp_path: Path) -> None:
    def rename(content: Content) -> None:
        content["test"]["id"] = np.array(
            ["x266rUJQC_8_12", "x266rUJQC_8", "286943_3", "286943$_$4", "a_b_1", "x266rUJQC_8[5]", "286943", "b"]
        )

    clips = mosi(tmp_path).scan(write_pickle(tmp_path / "raw", change=rename), []).clips
    groups = {clip.id: clip.group for clip in clips}
    assert groups["x266rUJQC_8_12"] == groups["x266rUJQC_8#1"] == groups["x266rUJQC_8[5]"] == "x266rUJQC_8"
    assert groups["286943_3"] == groups["286943$_$4"] == groups["286943#1"] == "286943"
    assert (groups["a_b_1#1"], groups["b#1"]) == ("a_b_1", "b")


def test_an_id_that_occurs_twice_keeps_its_first_sample(tmp_path: Path) -> None:
    def twice(content: Content) -> None:
        content["test"]["id"][3] = content["train"]["id"][0]

    source = write_pickle(tmp_path / "raw", change=twice)
    found = mosi(tmp_path).scan(source, [])
    assert found.problems == [("03bSnISJMiM[0.0-8.0] in test", "the same id is in train before")]
    rows = decode(next(clip for clip in found.clips if clip.id == "03bSnISJMiM[0.0-8.0]"), SETTINGS)
    assert np.array_equal(rows["audio"], sample("03bSnISJMiM", 0)["audio"])


def remove(part: str, key: str) -> Callable[[Content], object]:
    return lambda content: content[part].pop(key)


def put(part: str, key: str, value: Any) -> Callable[[Content], object]:
    return lambda content: content[part].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("valid"), "holds train, test. Expected a dict of train, valid, test"),
        (remove("test", "vision"), "'test' has no 'vision'"),
        (remove("train", "id"), "'train' has no 'id'"),
        (put("train", "text", [1, 2]), "'text' of 'train' is no array but list"),
        (put("train", "text", np.zeros((16, 10))), r"'text' of 'train' is float64 \(16, 10\)"),
        (put("train", "audio", np.zeros((15, 10, 3))), "samples of 'train' differ in number"),
        (put("train", "audio", np.zeros((16, 9, 3))), "different steps: .* Take the aligned pickle"),
        (put("valid", "labels", np.zeros((8, 1, 7))), "one score each"),
        (put("valid", "labels", np.full((8, 1, 1), 4.0)), "is 4; allowed: -3 to 3"),
        (put("valid", "labels", np.full((8, 1, 1), nan)), "is nan; allowed: -3 to 3"),
        (put("valid", "id", np.zeros((8, 2))), "'id' of 'valid' is float64"),
        (put("valid", "id", np.array([b"\xff"] * 8)), "'id' of 'valid' is no text"),
        (put("valid", "id", [["a", "0", "1"]] * 7 + [["a", "0"]]), "'id' of 'valid' is ragged .* Needed: text"),
        (put("valid", "id", np.full((8, 1), 0x110000, "u4").view("U1")[:, 0]), "characters that there are not"),
        (put("valid", "id", np.array(["\ud800"] * 8, object)), "'id' of 'valid' is no text"),
        (put("test", "vision", np.ones((8, 10, 35))), "--set dataset.video_channels=35"),
    ],
)
def test_pickles_of_another_form_are_errors(change: Callable[[Content], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        mosi(tmp_path).prepare(Preparation(write_pickle(tmp_path / "raw", change=change)))
    assert not (tmp_path / "data").exists()


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_that_would_run_something_is_refused_and_not_run(tmp_path: Path) -> None:
    content = multibench() | {"extra": {"x": Attack(tmp_path / "was-run")}}
    source = tmp_path / "raw"
    source.mkdir()
    (source / "mosi_data.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"mosi_data\.pkl' holds 'posix\.system'"):
        mosi(tmp_path).prepare(Preparation(source))
    assert not (tmp_path / "was-run").exists()
    assert not (tmp_path / "data").exists()


def test_folders_of_neither_or_both_forms_are_errors(tmp_path: Path) -> None:
    for source in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=r"holds neither 'mosi_data\.pkl' nor \.csd files"):
            mosi(tmp_path).prepare(Preparation(source))
    source = write_pickle(tmp_path / "raw")
    with pytest.raises(UserError, match="Leave out --splits"):
        mosi(tmp_path).prepare(Preparation(source, (source / "mosi_data.pkl",)))
    with pytest.raises(UserError, match="Leave one form"):
        mosi(tmp_path).prepare(Preparation(write_sequences(source)))


def test_an_empty_part_is_an_error(tmp_path: Path) -> None:
    def empty(content: Content) -> None:
        for key, value in content["valid"].items():
            content["valid"][key] = value[:0]

    data = prepared(tmp_path, write_pickle(tmp_path / "raw", change=empty))
    with pytest.raises(UserError, match="the val split is empty"):
        data.load("standard", 1, 0, ALL)


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
    found = presets_of(cls)[preset]
    adapter = cls(tmp_path, **resolve_dataset(found.values, cls))
    kept = ("text", "video") if preset == "paper-vt" else ALL
    settings = resolve_run(found.values, method("joint"), cls, ALL)
    assert settings.training["monitor"] == "mae"
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
    assert resolve_run(found.values, method("mcr"), cls, ALL).method["lambda_mipd"] in (0.01, 0.001)


def test_workers_that_decode_import_no_torch() -> None:
    code = "import sys, mcr_bench.datasets._mosi_raw; print('torch' in sys.modules, 'h5py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
