"""CREMA-D for Conformers: waveforms, and features of faces by a network that the user brings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import build, resolve
from mcr_bench.datasets.base import Modality, Preparation
from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.clips.rows import CachedRows
from mcr_bench.datasets.cremad import Cremad
from mcr_bench.datasets.media.decode import fit, read_every
from mcr_bench.tests.support.media.cremad_files import IDS, tree
from mcr_bench.tests.support.media.media_files import truncate, write_audio, write_clip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An EfficientNet of one block, with 128 features, of images normalised in its own way."""
    transformers = pytest.importorskip("transformers")
    one = {name: [8] for name in ("in_channels", "out_channels")}
    one |= {name: [1] for name in ("strides", "num_block_repeats", "expand_ratios")}
    config = transformers.EfficientNetConfig(
        width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128, kernel_sizes=[3], depthwise_padding=[], **one
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    transformers.EfficientNetModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder


MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
CONFORMER = {"backbone": "conformer", "frames": 8, "frame_size": 32, "seconds": 0.75}


def test_conformer_has_waveforms_and_features_of_faces(weights: Path, tmp_path: Path) -> None:
    folder = tree(tmp_path / "raw", IDS[:6])
    write_clip(folder / f"VideoFlash/{IDS[5]}.flv", seconds=1, seed=5, audio=False)
    write_audio(folder / f"AudioWAV/{IDS[5]}.wav", seconds=1, seed=5)
    data = Cremad(tmp_path / "data/cremad", weights=str(weights), **CONFORMER)
    data.prepare(Preparation(folder))
    facts = data.facts().modalities
    assert facts == {"audio": Modality((12000, 1), True), "video": Modality((8, 128), True)}
    assert data.cache.lengths("audio").tolist() == [8000] * 5 + [12000]
    assert data.cache.lengths("video").tolist() == [5] * 5 + [8]
    audio = CachedRows(data.cache, data.view("audio", data.cache, np.arange(6)), np.arange(6))[torch.arange(6)]
    assert audio[5].mean() == pytest.approx(0, abs=0.01)
    assert audio[5].std() == pytest.approx(1, abs=0.01)  # all clips are as loud
    assert (audio[0, 8000:] == 0).all()


def test_features_are_those_of_the_network_on_the_face(weights: Path, tmp_path: Path) -> None:
    """The network asked directly, image by image, about the upper middle of each frame."""
    from transformers import EfficientNetModel

    clip = Clip("a", 0, "", {"video": write_clip(tmp_path / "a.flv"), "audio": write_audio(tmp_path / "a.wav")})
    recipe = Cremad(tmp_path, weights=str(weights), **CONFORMER).recipe()
    result = recipe.decode(clip, recipe.settings)["video"]
    network = EfficientNetModel.from_pretrained(weights).eval()
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    for n, frame in enumerate(read_every(clip.files["video"], 1, 8)):
        square = fit(frame[None, 2:31, 17:46], 32)[0].transpose(1, 2, 0)  # 0.6 of 48 high, 0.05 of 48 from the top
        image = ((torch.from_numpy(square) / 255 - mean) / std).permute(2, 0, 1)
        with torch.no_grad():
            expected = network(image[None]).pooler_output.flatten()
        assert result[n] == pytest.approx(expected.numpy(), rel=2e-3, abs=2e-3)  # float16


def test_other_weights_make_another_cache_wherever_they_lie(weights: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(weights, tmp_path / "moved")
    one, same = (Cremad(tmp_path, weights=str(w), **CONFORMER).folder for w in (weights, moved))
    assert one == same
    for name in ("config.json", "preprocessor_config.json"):
        (moved / name).write_text((moved / name).read_text() + "\n")
        other = Cremad(tmp_path, weights=str(moved), **CONFORMER).folder
        assert other != one
        one = other


def test_keys_follow_the_content_of_weights_and_the_dials_that_act(weights: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(weights, tmp_path / "moved")

    def acting(**dials: object) -> dict[str, object]:
        data = build(Cremad, dials, location=tmp_path)
        return dict(data.acting(resolve(Cremad, dials)))

    faces = acting(weights=str(weights), **CONFORMER)
    assert faces == acting(weights=str(moved), **CONFORMER) == acting(weights=str(moved), crop=8, **CONFORMER)
    assert faces != acting(weights=str(moved), **CONFORMER | {"frames": 4})
    assert acting() == acting(weights=str(weights)) != acting(crop=8)
    (moved / "config.json").write_text((moved / "config.json").read_text() + "\n")
    assert faces != acting(weights=str(moved), **CONFORMER)


def test_conformer_without_weights_says_what_it_needs(weights: Path, tmp_path: Path) -> None:
    request = Preparation(tree(tmp_path / "raw", IDS[:1]))
    assert Cremad(tmp_path, **CONFORMER).modalities()["video"].shape == (8, 1408)
    with pytest.raises(UserError, match=r"json, model\.safetensors, preprocessor_config\.json .* EfficientNet-B2"):
        Cremad(tmp_path, **CONFORMER).prepare(request)
    moved = shutil.copytree(weights, tmp_path / "moved")
    cut = Cremad(tmp_path, weights=str(moved), **CONFORMER)
    (moved / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": 1}')
    with pytest.raises(UserError, match=r"has no image_mean and image_std of three colours\. Copy the weights"):
        cut.prepare(request)
    truncate(moved / "model.safetensors")
    with pytest.raises(UserError, match=r"cannot be read .*\. Copy the weights again"):
        cut.prepare(request)
    (moved / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"config\.json is of 'bert'\. Allowed: efficientnet"):
        cut.prepare(request)
    (moved / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json' is not JSON"):
        cut.prepare(request)
