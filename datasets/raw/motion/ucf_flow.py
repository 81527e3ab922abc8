"""UCF101 as frames and optical flow: flow that `prepare` computes, or the flow images of the two-stream release."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan, Settings
from mcr_bench.datasets.media.flow import LEVELS, STILL
from mcr_bench.datasets.raw import ucf_raw
from mcr_bench.datasets.raw.lists import by_lower_name

JPEGS, FLOWS = "jpegs_256", "tvl1_flow"
LAYOUT = (
    f"with dataset.flow=tvl1 instead of {ucf_raw.VIDEOS} the two-stream release:\n"
    f"  {JPEGS}/v_CLASS_gNN_cNN/frame000001.jpg\n"
    f"  {FLOWS}/u/v_CLASS_gNN_cNN/frame000001.jpg and {FLOWS}/v/..., movements to the right and down from frame 1 to 2"
)
VERSION = 1
BOUND = 20.0  # pixels from frame to frame: the bound of the release, and ours for flow that is computed
HOW = {"dis": "DIS medium, from each frame to the next of the video", "tvl1": "TV-L1 images of the two-stream release"}
# Code of no movement, and pixels per step. The release codes -20 to 20 pixels of pictures with a shorter side of 256 as
# 0 to 255 (feichtenhofer/gpu_flow, compute_flow.cpp).
CODES = {"dis": (float(STILL), BOUND / LEVELS), "tvl1": (127.5, 2 * BOUND / 255)}
ROLES = {"frames": JPEGS, "u": f"{FLOWS}/u", "v": f"{FLOWS}/v"}


def scan(source: Path, splits: Sequence[Path], flow: str) -> Scan:
    """Every available clip of the 101 classes; UserError if the folder or a list is not UCF101's or the release's.

    flow: dis for videos, tvl1 for the folders of the release.
    """
    if flow == "dis":
        return ucf_raw.scan(source, splits, ucf_raw.ALL)
    result = Scan([], lists=ucf_raw.lists_of(source, splits))
    inside = by_lower_name(source)
    flows = by_lower_name(inside.get(FLOWS, source / FLOWS))
    places = {"frames": inside.get(JPEGS), "u": flows.get("u"), "v": flows.get("v")}
    if missing := [ROLES[role] for role, place in places.items() if place is None]:
        raise UserError(f"'{source}' has no {' and no '.join(missing)}. Expected:\n{ucf_raw.LAYOUT}\n{LAYOUT}")
    clips: dict[ucf_raw.Key, dict[str, Path]] = {}
    for role, place in places.items():
        assert place is not None
        for folder in (path for path in sorted(place.iterdir()) if path.is_dir()):
            key = ucf_raw.key_of(folder.name)
            if key is None or key.label not in ucf_raw.NAMES:
                result.problems.append((f"{place.name}/{folder.name}", "is not named v_CLASS_gNN_cNN; left out"))
            else:
                clips.setdefault(key, {})[role] = folder
    for key in sorted(clips):
        if absent := [ROLES[role] for role in ROLES if role not in clips[key]]:
            result.problems.append((ucf_raw.clip_id(key), f"missing from {' and '.join(absent)}"))
            del clips[key]
    return ucf_raw.completed(result, clips, ucf_raw.ALL, JPEGS)


def fields(settings: Settings) -> dict[str, Field]:
    """The arrays of a cache: video (F, 3, S, S) and flow (F, 2, S, S), both uint8, and aspect () float32."""
    frames, square = settings["frames"], (settings["frame_size"],) * 2
    return {
        "video": Field((frames, 3, *square), "uint8"),
        "flow": Field((frames, 2, *square), "uint8"),
        "aspect": Field((), "float32"),
    }


def decode(clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array: frames spread evenly over the clip, and the flow from each of them to the next frame.

    Raises `Unusable` for a clip of fewer than two frames, or whose folders do not fit together.
    """
    from mcr_bench.datasets.media.decode import aspect, fit

    of_clip = _of_video if "video" in clip.files else _of_release
    frames, flow = of_clip(clip, settings)
    return {
        "video": fit(frames, settings["frame_size"]),
        "flow": flow,
        "aspect": np.asarray(aspect(frames), np.float32),
    }


def spread(total: int, count: int) -> list[int]:
    """The numbers of `count` frames, the middles of equal parts of a clip of `total` frames without its last one.

    >>> spread(11, 3), spread(2, 2)
    ([1, 5, 8], [0, 0])
    """
    return [int((at + 0.5) * (total - 1) / count) for at in range(count)]


def _of_video(clip: Clip, settings: Settings) -> tuple[Array, Array]:
    from mcr_bench.datasets.media.decode import Unusable, frame_count, read_numbered
    from mcr_bench.datasets.media.flow import flow_images

    path, total = clip.files["video"], frame_count(clip.files["video"])
    if total < 2:
        raise Unusable(f"{path.name}: has one frame; optical flow needs two.")
    at = spread(total, settings["frames"])
    pairs = read_numbered(path, [number + step for number in at for step in (0, 1)])
    try:
        return pairs[::2], flow_images(pairs[::2], pairs[1::2], settings["frame_size"], BOUND)
    except ValueError as error:
        raise Unusable(str(error)) from error


def _of_release(clip: Clip, settings: Settings) -> tuple[Array, Array]:
    import cv2

    from mcr_bench.datasets.media.pictures import pictures_of, read_numbers
    from mcr_bench.datasets.media.reasons import AGAIN, Unusable

    counts = {role: len(pictures_of(folder)) for role, folder in clip.files.items()}
    total = counts["frames"]
    if total < 2 or counts["u"] != counts["v"] or counts["u"] not in (total - 1, total):
        words = ", ".join(f"{count} in {ROLES[role]}" for role, count in counts.items())
        raise Unusable(f"{clip.id}: {words}; one flow image per frame but the last is needed. {AGAIN}")
    at, size = spread(total, settings["frames"]), settings["frame_size"]
    parts = [read_numbers(clip.files[role], at, grey=True) for role in ("u", "v")]
    flow = [[cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in part] for part in parts]
    return read_numbers(clip.files["frames"], at), np.asarray(np.stack(flow, axis=1), np.uint8)
