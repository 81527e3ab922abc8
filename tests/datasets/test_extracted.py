"""Frames and sound that were extracted beforehand are a source of AVE, CREMA-D and Kinetics-Sounds; what is refused."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.ave import Ave
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.decoding import checksum
from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.clips.dataset import ClipDataset
from mcr_bench.datasets.cremad import Cremad
from mcr_bench.datasets.kinetics_sounds import KineticsSounds
from mcr_bench.datasets.media.pictures import pictures_of, read_pictures
from mcr_bench.datasets.media.reasons import Unusable
from mcr_bench.datasets.raw import ave_raw, cremad_raw
from mcr_bench.datasets.raw.extracted import extracted, shown
from mcr_bench.datasets.raw.web import ks_lists
from mcr_bench.tests.support.media import preparing
from mcr_bench.tests.support.media import web_files as web
from mcr_bench.tests.support.media.ave_files import lists, write_lists
from mcr_bench.tests.support.media.media_files import lfs_pointer, picture, write_audio, write_clip

here = preparing.here  # a fixture: clips are decoded in this process

SMALL = {"frame_size": 16, "crop": 16}
NOTE = "from frames extracted before, 1 per second, 64 x 48 pixels, and separate sound"
ACTED = [f"{actor}_DFA_{emotion}_XX" for actor in (1001, 1002, 1003, 1004) for emotion in ("ANG", "HAP")]


def ave(folder: Path) -> Ave:
    write_lists(folder / "raw", lists())
    for n in range(22):
        web.extracted_clip(folder / "raw", f"video_-{n:04}", n)
    return Ave(folder / "data/ave", **SMALL)


def cremad(folder: Path) -> Cremad:
    for n, clip in enumerate(ACTED):
        web.extracted_clip(folder / "raw", clip, n)
    return Cremad(folder / "data/cremad", seconds=0.5, **SMALL)


def kinetics_sounds(folder: Path) -> KineticsSounds:
    for n in range(24):
        web.extracted_clip(folder / "raw", f"{web.ks_video(n)}_000002_000012.mp4", n, folder=f"{n % 2}")
    (folder / "raw" / ks_lists.WHOLE).write_text(web.ks_json())
    return KineticsSounds(folder / "data/kinetics-sounds", seconds=0.5, **SMALL)


@pytest.mark.parametrize(("made", "count"), [(ave, 24), (cremad, 8), (kinetics_sounds, 24)])
def test_frames_and_sound_are_a_source_which_the_card_tells(made: object, count: int, tmp_path: Path) -> None:
    data: ClipDataset = made(tmp_path)  # type: ignore[operator]
    data.prepare(Preparation(tmp_path / "raw"))
    assert len(data.cache.index.ids) == count
    assert all(NOTE in protocol.card for protocol in data.protocols().values())
    video = data.cache.array("video")[data.cache.rows]
    assert len({row.tobytes() for row in video}) >= count - 2  # two events of AVE are of one video
    assert '"frames@1"' in data.folder.joinpath("sources.csv").read_text()


@pytest.mark.usefixtures("here")
def test_a_folder_of_frames_that_has_changed_is_decoded_again(tmp_path: Path) -> None:
    data = cremad(tmp_path)
    data.prepare(Preparation(tmp_path / "raw"))
    before = {path.name: path.read_bytes() for path in data.folder.iterdir() if path.is_file()}
    changed = tmp_path / "raw/Image-01-FPS" / ACTED[0] / "00025.jpg"
    kept = changed.read_bytes()
    cv2.imwrite(str(changed), picture(9, 64, 48, 3))
    assert "1 decoded" in data.prepare(Preparation(tmp_path / "raw"))
    assert {path.name: path.read_bytes() for path in data.folder.iterdir() if path.is_file()} != before
    changed.write_bytes(kept)
    data.prepare(Preparation(tmp_path / "raw"))
    assert {path.name: path.read_bytes() for path in data.folder.iterdir() if path.is_file()} == before


def test_videos_are_preferred(tmp_path: Path) -> None:
    cremad(tmp_path)
    for n, clip in enumerate(ACTED[:2]):
        write_clip(tmp_path / f"raw/VideoFlash/{clip}.flv", 0.5, seed=n, audio=False)
    scan = cremad_raw.scan(tmp_path / "raw", [])
    assert [set(clip.files) for clip in scan.clips] == [{"video", "audio"}] * 2
    assert "extracted.txt" not in scan.lists


def test_a_clip_without_sound_is_left_out(tmp_path: Path) -> None:
    ave(tmp_path)
    (tmp_path / "raw/AudioWAV/video_-0003.wav").unlink()
    scan = ave_raw.scan(tmp_path / "raw", [])
    assert [key for key, what in scan.problems if "no AVE/video_-0003.mp4" in what] == ["video_-0003_1-2_violin-fiddle"]


def test_two_folders_of_one_clip_are_refused(tmp_path: Path) -> None:
    cremad(tmp_path)
    web.write_pictures(tmp_path / "raw/other/Image-04-FPS" / ACTED[0], 4)
    with pytest.raises(
        UserError, match=r"Image-01-FPS/1001_DFA_ANG_XX' and .*Image-04-FPS/1001_DFA_ANG_XX' are of the"
    ):
        extracted(tmp_path / "raw")


def test_conformer_asks_for_the_videos(tmp_path: Path) -> None:
    from mcr_bench.datasets.raw import cremad_faces

    folder = web.write_pictures(tmp_path / "Image-01-FPS" / ACTED[0], 2)
    clip = Clip(ACTED[0], 0, "1001", {"frames@1": folder, "audio": write_audio(tmp_path / "a.wav")})
    with pytest.raises(Unusable, match=r"needs every frame: put the \.flv file into VideoFlash"):
        cremad_faces.decoder("")(clip, cremad_faces.settings_of("", 2, 16, 1.0))


def test_frames_are_read_by_time_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "Image-02-FPS" / "clip"
    folder.mkdir(parents=True)
    for n in range(11):
        cv2.imwrite(str(folder / f"frame_{n // 2}_{n + 1}.png"), np.full((8, 12, 3), 10 * n, np.uint8))
    (folder / ".hidden.png").touch()
    (folder / "notes.txt").touch()
    assert [path.stem for path in pictures_of(folder)][-2:] == ["frame_4_10", "frame_5_11"]
    values = read_pictures(folder, [0.0, 0.49, 0.5, 2.0, 5.0], 2)[:, 0, 0, 0]
    assert values.tolist() == [0, 0, 10, 40, 100]
    assert read_pictures(folder, [9.0], 2, pad=True)[0, 0, 0, 0] == 100
    clip = Clip("clip", 0, "g", {"frames@2": folder})
    assert shown(clip, [1.0])[0, 0, 0, 0] == 20
    with pytest.raises(Unusable, match=r"clip: has 11 pictures; number 19 is needed"):
        read_pictures(folder, [9.0], 2)


def test_unusable_folders_say_why(tmp_path: Path) -> None:
    folder = web.write_pictures(tmp_path / "Image-01-FPS/clip", 2)
    lfs_pointer(folder / "00025.jpg")
    with pytest.raises(Unusable, match=r"clip/00025\.jpg: is not a picture that can be read"):
        read_pictures(folder, [0, 1], 1)
    cv2.imwrite(str(folder / "00025.jpg"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(Unusable, match=r"its pictures differ in size: 4 x 4 and 64 x 48"):
        read_pictures(folder, [0, 1], 1)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(Unusable, match="the folder has no picture"):
        read_pictures(folder, [0], 1)


def test_the_checksum_of_a_folder_is_that_of_its_pictures(tmp_path: Path) -> None:
    folder = web.write_pictures(tmp_path / "a", 2)
    before = checksum(folder)
    (folder / "notes.txt").write_text("x")
    assert checksum(folder) == before
    (folder / "00025.jpg").rename(folder / "00026.jpg")
    assert checksum(folder)[0] == before[0]
    assert checksum(folder) != before
    (tmp_path / "empty").mkdir()
    with pytest.raises(IsADirectoryError):
        checksum(tmp_path / "empty")
