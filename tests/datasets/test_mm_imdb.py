"""MM-IMDb: the official HDF5 file, several labels per film, from raw to parts; wrong and damaged files are errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.metrics import metrics_of
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.features.mm_imdb_file import COUNTS, GENRES
from mcr_bench.datasets.mm_imdb import MmImdb
from mcr_bench.tests.support.media.array_files import FILE, FILMS, SMALL, genres
from mcr_bench.tests.support.media.array_files import write_films as write


def prepared(folder: Path, change: Callable[[h5py.File], object] | None = None, **dials: Any) -> MmImdb:
    data = MmImdb(folder / "data/mm-imdb", **{**SMALL, **dials})
    data.prepare(Preparation(write(folder / "raw", change)))
    return data


def test_films_have_several_genres(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    splits = data.load("standard", 1, 0, ("text", "image"))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [16, 4, 4]
    assert splits.train.labels.tolist() == genres()[:16].tolist()
    assert data.facts().task == Task(None, labels=23)
    assert data.facts().class_names[:2] == ("Drama", "Comedy")
    assert data.protocols()["standard"].metric == "micro_f1"
    assert {"micro_f1", "macro_f1"} <= {metric.name for metric in metrics_of(data.facts().task)}
    text = splits.train.batch(torch.arange(16)).inputs.values["text"]
    assert text.mean(0).abs().max() < 1e-5
    verified = verification_of(data, True)
    assert verified.protocols[0][1][0].classes["train"] == genres()[:16].sum(0).tolist()
    assert verified.damaged == []
    assert verified.class_noun == "label"


def test_genres_in_another_order_are_sorted_by_name(tmp_path: Path) -> None:
    def turn(file: h5py.File) -> None:
        file["genres"][...] = genres()[:, ::-1]
        file["genres"].attrs["target_names"] = json.dumps(GENRES[::-1])

    data = prepared(tmp_path, turn)
    assert data.load("standard", 1, 0, ("text",)).train.labels.tolist() == genres()[:16].tolist()


def test_posters_are_images(tmp_path: Path) -> None:
    data = prepared(tmp_path, image="poster")
    train = data.load("standard", 1, 0, ("image",)).train
    batch = train.batch(torch.arange(16)).inputs.values["image"]
    assert batch.shape == (16, 3, 256, 160)
    assert batch.mean((0, 2, 3)).abs().max() < 1e-3
    assert data.folder != MmImdb(data.location, **SMALL).folder


def without(key: str) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        del file[key]

    return change


def put(key: str, value: Any) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        del file[key]
        file[key] = value

    return change


def linked(file: h5py.File) -> None:
    del file["features"]
    file["features"] = h5py.ExternalLink("/etc/hosts", "/x")


def unnamed(file: h5py.File) -> None:
    file["genres"].attrs["target_names"] = json.dumps(["Drama"] * 23)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("genres"), "has no 'genres'"),
        (without("vgg_features"), "has no 'vgg_features'"),
        (put("features", np.zeros((FILMS, 7))), r"'features' has shape \(24, 7\)"),
        (put("features", np.zeros((FILMS - 1, 6))), "has different numbers of films"),
        (put("genres", np.full((FILMS, 23), 2)), "other values than 0 and 1"),
        (put("genres", np.zeros((FILMS, 22))), "needed: the 23 of MM-IMDb"),
        (put("imdb_ids", np.zeros(FILMS)), "'imdb_ids' is float64"),
        (unnamed, "needed: the 23 of MM-IMDb"),
        (linked, "'features' is a link"),
        (lambda file: file.attrs.pop("split"), "does not say which of its 24 films"),
    ],
)
def test_wrong_files_are_errors_that_name_the_array(
    change: Callable[[h5py.File], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, change)
    assert not (tmp_path / "data").exists()


def test_truncated_and_missing_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"has no '{FILE}'\. Expected"):
        MmImdb(tmp_path / "data").prepare(Preparation(tmp_path))
    path = write(tmp_path / "raw") / FILE
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="is truncated"):
        MmImdb(tmp_path / "data").prepare(Preparation(tmp_path / "raw"))


def test_a_film_that_the_file_has_twice_counts_once(tmp_path: Path) -> None:
    def twice(file: h5py.File) -> None:
        file["imdb_ids"][23] = file["imdb_ids"][20]

    data = prepared(tmp_path, twice)
    assert len(data.load("standard", 1, 0, ("text",)).test) == 3
    assert data.inventory().left_out == ((FILE, "1 rows have the id of an earlier row"),)


def test_the_official_numbers_are_those_of_the_whole_set() -> None:
    assert sum(COUNTS.values()) == 25_959 == MmImdb.variants[0].clips


@pytest.mark.parametrize("value", [0.25, np.nan, 1e6])
def test_posters_that_are_not_whole_numbers_are_left_out(value: float, tmp_path: Path) -> None:
    """Fractions from 0 to 1 became zeros and ones, and what is not a number any colour."""

    def spoil(file: h5py.File) -> None:
        images = file["images"][:].astype(np.float32)
        images[3, 0, 5, 5] = value
        del file["images"]
        file["images"] = images

    data = prepared(tmp_path, spoil, image="poster")
    ((_, told),) = data.inventory().left_out
    assert "values that are not those of colours" in told
