"""The dataset.toml of the page on data reads a folder, and the lines of the page on Python make one and train on it."""

from pathlib import Path

import numpy as np
import pytest
import torch

import mcr_bench
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.tests.support.house.examples import blocks
from mcr_bench.tests.support.inputs.array_folders import described
from mcr_bench.tests.support.media.media_files import write_audio, write_clip

COUNT = 6
PARTS = ("train", "train", "train", "train", "val", "test")


def test_the_dataset_toml_of_the_page(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    (toml,) = blocks("docs/data.md", "toml")
    folder = described(tmp_path / "mine", toml)
    lines = ["emotion,part,speaker,mean,highest,photo,recording,recorded,clip"]
    for row in range(COUNT):
        cv2.imwrite(str(folder / f"{row}.jpg"), np.full((9, 9, 3), 30 * row, np.uint8))
        write_audio(folder / f"{row}.wav", seconds=0.2, seed=row)
        write_clip(folder / f"{row}.mp4", seconds=0.4, seed=row, audio=False)
        lines.append(
            f"{('calm', 'angry')[row % 2]},{PARTS[row]},s{row},{row},{row + 0.5},{row}.jpg,{row}.wav,1,{row}.mp4"
        )
    (folder / "samples.csv").write_text("\n".join(lines))
    torch.save({"pose": torch.rand(COUNT, 3), "other": torch.zeros(1)}, folder / "features.pt")
    np.save(folder / "words.npy", np.random.default_rng(0).normal(size=(COUNT, 4, 2)))
    np.save(folder / "steps.npy", np.arange(COUNT) % 4 + 1)
    facts = Arrays(folder).facts()
    assert {m: one.shape for m, one in facts.modalities.items()} == {
        "pulse": (2,),
        "pose": (3,),
        "words": (4, 2),
        "face": (3, 32, 32),
        "voice": (1, 257, 136),
        "scene": (4, 3, 32, 32),
    }
    assert facts.class_names == ("angry", "calm")


@pytest.mark.slow  # it starts processes that train
def test_the_lines_of_the_page_on_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (lines,) = [block for block in blocks("docs/python.md", "python") if "to_arrays" in block]
    sets = {
        f"{part}_set": [{"voice": torch.randn(4) + i % 2, "face": torch.randn(3), "label": i % 2} for i in range(count)]
        for part, count in (("train", 20), ("val", 8), ("test", 8))
    }
    names = {"mcr_bench": mcr_bench, **sets}
    exec(lines, names)
    assert {"joint", "ensemble"} <= {row.method for row in names["c"].rows}  # type: ignore[attr-defined]
