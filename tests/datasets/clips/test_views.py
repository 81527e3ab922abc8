"""Views of frames and flow: geometry against closed forms, statistics of the drawn boxes, what is alike in a clip."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mcr_bench.datasets.clips.crops import (
    INCEPTION,
    Boxes,
    RandomResizedCrop,
    ScaledCrop,
    crop_resize,
    resized_by_weights,
)
from mcr_bench.datasets.clips.views import IMAGENET_MEAN, IMAGENET_STD, Flow, Frames, ScaledFrames

SIDE = 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def facts(n: int, aspect: float = 4 / 3) -> dict[str, Tensor]:
    return {"aspect": torch.full((n,), aspect)}


def boxes_of(top: int, left: int, height: int, width: int, side: int = SIDE, flip: bool = False) -> Boxes:
    """The boxes of one clip that lie at these pixels of a frame of this side."""
    values = height / side, width / side, (top + 0.5) / (side - height + 1), (left + 0.5) / (side - width + 1)
    return Boxes(*(torch.tensor([v]) for v in values), torch.tensor([flip]))


def ramp(side: int = SIDE) -> Tensor:
    """(1, 1, 2, side, side) float: the row's number and the column's."""
    return torch.stack(torch.meshgrid(*[torch.arange(side).float()] * 2, indexing="ij"))[None, None]


def noise(n: int = 2, frames: int = 3, channels: int = 3, side: int = SIDE) -> Tensor:
    return torch.randint(256, (n, frames, channels, side, side), generator=generator(5), dtype=torch.uint8)


@pytest.mark.parametrize("crop", [crop_resize, lambda x, b, s: resized_by_weights(x, b.pixels(SIDE, SIDE), b.flip, s)])
def test_a_ramp_is_resized_as_its_closed_form(crop: object) -> None:
    """Bilinear, corners not aligned: output i of a box [start, start + length) shows start + (i + .5) length / n - .5;
    beyond the centres of the outermost pixels their values go on.
    """
    made = crop(ramp(), boxes_of(top=10, left=20, height=12, width=24), 48)  # type: ignore[operator]
    for axis, (start, length) in enumerate([(10, 12), (20, 24)]):
        expected = (start + (torch.arange(48) + 0.5) * length / 48 - 0.5).clamp(start, start + length - 1)
        shown = made[0, 0, axis]
        assert torch.allclose(
            shown, expected[:, None].expand(48, 48) if axis == 0 else expected.expand(48, 48), atol=1e-4
        )


def test_halving_takes_the_triangle_of_eight_pixels() -> None:
    """PIL's bilinear filter widens with the scale: at one half, weights 1 3 3 1 over 8, cut at the border."""
    line = torch.tensor([8.0, 16.0, 64.0, 8.0, 0.0, 8.0, 8.0, 32.0])
    frames = line.expand(1, 1, 1, 8, 8)
    made = crop_resize(frames, boxes_of(0, 0, 8, 8, side=8), 4)
    first = (3 * 8 + 3 * 16 + 64) / 7
    inner = [(16 + 3 * 64 + 3 * 8 + 0) / 8, (8 + 3 * 0 + 3 * 8 + 8) / 8]
    last = (8 + 3 * 8 + 3 * 32) / 7
    assert torch.allclose(made[0, 0, 0, 0], torch.tensor([first, *inner, last]), atol=1e-4)


def test_a_crop_mixes_nothing_in_from_outside() -> None:
    frames = torch.full((1, 1, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    frames[..., 8:40, 16:32] = 7
    box = boxes_of(top=8, left=16, height=32, width=16)
    assert (crop_resize(frames, box, 56) == 7).all()
    assert (resized_by_weights(frames, box.pixels(SIDE, SIDE), box.flip, 56) == 7).all()


@pytest.mark.parametrize("frames", [3, 4])  # planes are grouped in two ways
def test_both_ways_of_resizing_agree(frames: int) -> None:
    raw, box = noise(6, frames), INCEPTION.draw(torch.full((6,), 4 / 3), generator(1))
    for dtype, tolerance in ((torch.uint8, 1.0), (torch.float32, 0.01)):
        one = crop_resize(raw.to(dtype), box, 48)
        other = resized_by_weights(raw.to(dtype), box.pixels(SIDE, SIDE), box.flip, 48)
        assert one.dtype == other.dtype == dtype
        assert (one.float() - other.float()).abs().max() <= tolerance


def test_flipping_twice_is_the_identity() -> None:
    raw = noise()
    whole = INCEPTION.fixed(torch.ones(2))
    swap = replace(whole, flip=torch.tensor([True, True]))
    once = crop_resize(raw, swap, SIDE)
    assert not torch.equal(once, raw)
    assert torch.equal(once, raw.flip(-1))
    assert torch.equal(crop_resize(once, swap, SIDE), raw)


def test_a_flip_is_that_of_the_cropped_picture() -> None:
    raw, plain = noise(1), boxes_of(3, 5, 40, 20)
    swapped = replace(plain, flip=torch.tensor([True]))
    expected = crop_resize(raw, plain, 32).flip(-1)
    assert torch.equal(crop_resize(raw, swapped, 32), expected)
    other = resized_by_weights(raw, swapped.pixels(SIDE, SIDE), swapped.flip, 32)
    assert (other.float() - expected.float()).abs().max() <= 1


def test_evaluation_is_a_plain_resize_and_normalised() -> None:
    raw = noise()
    shown = Frames("video", SIDE).evaluate(raw, facts(2))
    expected = torch.stack(
        [(raw[:, :, c].double() / 255 - IMAGENET_MEAN[c]) / IMAGENET_STD[c] for c in range(3)], dim=2
    )
    assert shown.dtype == torch.float32
    assert torch.allclose(shown.double(), expected, atol=1e-5)
    smaller = Frames("video", 32, mean=(0, 0, 0), std=(1, 1, 1)).evaluate(raw, facts(2))
    resized = torch.nn.functional.interpolate(raw.flatten(0, 1).float(), (32, 32), mode="bilinear", antialias=True)
    assert (smaller.flatten(0, 1) * 255 - resized).abs().max() <= 1.01
    assert torch.equal(Frames("video", SIDE).evaluate(raw, facts(2)), shown)


def test_without_random_training_sees_what_evaluation_sees() -> None:
    view = Frames("video", 32, random=False)
    assert torch.equal(view.augment(noise(), facts(2), generator()), view.evaluate(noise(), facts(2)))


def test_one_geometry_in_a_clip_and_another_in_the_next() -> None:
    picture = noise(1, 1)
    view = Frames("video", 32)
    made = view.augment(picture.expand(4, 3, -1, -1, -1), facts(4), generator())
    assert torch.equal(made[:, 0], made[:, 1])
    assert torch.equal(made[:, 0], made[:, 2])
    assert all(not torch.equal(made[a], made[b]) for a in range(4) for b in range(a))


def test_the_same_seed_draws_the_same() -> None:
    view, raw = Frames("video", 32), noise()
    first, second, other = (view.augment(raw, facts(2), generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def reference_boxes(aspect: float, n: int) -> Tensor:
    """(n, 2) shares of width and height by the rules of torchvision's documentation, one box after the other."""
    drawn, draw = [], generator(11)
    wide, high = 1000 * aspect, 1000.0
    for _ in range(n):
        for _ in range(10):
            area, shape = torch.rand(2, generator=draw).tolist()
            area = wide * high * (0.08 + 0.92 * area)
            ratio = math.exp(math.log(3 / 4) + shape * (math.log(4 / 3) - math.log(3 / 4)))
            w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if w <= wide and h <= high:
                break
        else:
            ratio = min(max(aspect, 3 / 4), 4 / 3)
            w, h = min(wide, high * ratio), min(high, wide / ratio)
        drawn.append([w / wide, h / high])
    return torch.tensor(drawn)


@pytest.mark.parametrize("aspect", [4 / 3, 16 / 9, 0.6])
def test_boxes_have_the_areas_and_ratios_of_the_rule(aspect: float) -> None:
    boxes = INCEPTION.draw(torch.full((20000,), aspect), generator())
    expected = reference_boxes(aspect, 4000)
    drawn = torch.stack([boxes.width, boxes.height], 1)
    assert (drawn <= 1).all()
    for one, other in (
        (drawn.prod(1), expected.prod(1)),  # area
        (drawn[:, 0] / drawn[:, 1] * aspect, expected[:, 0] / expected[:, 1] * aspect),  # width / height
    ):
        q = torch.linspace(0.05, 0.95, 19)
        assert (one.quantile(q) - other.quantile(q)).abs().max() < 0.03
    ratio = drawn[:, 0] / drawn[:, 1] * aspect
    assert ratio.min() > 3 / 4 - 1e-4
    assert ratio.max() < 4 / 3 + 1e-4
    assert abs(boxes.flip.float().mean() - 0.5) < 0.02


def test_small_boxes_are_uniform_in_area_log_ratio_and_place() -> None:
    """Where every draw fits, area and log(ratio) are uniform: means and variances are known."""
    boxes = RandomResizedCrop(scale=(0.1, 0.5)).draw(torch.ones(20000), generator())
    area, shape = boxes.height * boxes.width, (boxes.width / boxes.height).log()
    assert abs(area.mean() - 0.3) < 0.005
    assert abs(area.std() - 0.4 / math.sqrt(12)) < 0.005
    assert abs(shape.mean()) < 0.01
    assert abs(shape.std() - 2 * math.log(4 / 3) / math.sqrt(12)) < 0.005
    pixels = boxes.pixels(8, 8)
    three = pixels[pixels[:, 2] == 3]  # boxes of three rows: six places, equally often
    assert torch.allclose(torch.bincount(three[:, 0]) / len(three), torch.full((6,), 1 / 6), atol=0.03)


@pytest.mark.parametrize(("aspect", "height", "width"), [(3.0, 1.0, 4 / 9), (0.25, 1 / 3, 1.0), (1.2, 1.0, 1.0)])
def test_where_no_draw_fits_the_largest_central_box_is_taken(aspect: float, height: float, width: float) -> None:
    """Areas above the whole frame never fit. Of a frame of 3 to 1, 4/3 of its height is 4/9 of its width."""
    boxes = RandomResizedCrop(scale=(3.0, 4.0)).draw(torch.full((5,), aspect), generator())
    assert torch.allclose(boxes.height, torch.full((5,), height))
    assert torch.allclose(boxes.width, torch.full((5,), width))
    top, left, h, w = boxes.pixels(180, 180)[0].tolist()
    assert (abs(2 * top + h - 180) <= 1, abs(2 * left + w - 180) <= 1) == (True, True)


@pytest.mark.parametrize("aspect", [1.6, 0.75])
def test_scaled_crops_are_squares_of_the_original_in_the_range(aspect: float) -> None:
    crop = ScaledCrop()
    boxes = crop.draw(torch.full((5000,), aspect), generator())
    short = boxes.height if aspect > 1 else boxes.width  # share of the short side
    assert torch.allclose(boxes.width * aspect, boxes.height)
    scale = 1 / short
    assert scale.min() >= 1.15 - 1e-4
    assert scale.max() <= 1.43 + 1e-4
    assert abs(scale.mean() - 1.29) < 0.01
    assert not boxes.flip.any()
    fixed = crop.fixed(torch.tensor([aspect]))
    top, left, height, width = fixed.pixels(230, 230)[0].tolist()
    assert (height, width) == ((200, round(200 / aspect)) if aspect > 1 else (round(200 * aspect), 200))
    assert (abs(2 * top + height - 230) <= 1, abs(2 * left + width - 230) <= 1) == (True, True)


def test_video_and_flow_are_cropped_and_flipped_alike() -> None:
    """Both are the same ramp: with the same seed they stay the same, whatever the side they are stored with."""
    column = torch.arange(256).float().expand(5, 2, 1, 256, 256)
    crop = ScaledCrop(flips=0.5)
    video = ScaledFrames("video", 128, crop=crop, mean=(0, 0, 0), std=(1, 1, 1))
    flow = Flow("flow", 128, crop=crop)
    pictures = column.expand(-1, -1, 3, -1, -1).to(torch.uint8)
    seen = video.augment(pictures, facts(5), generator(2))[:, :, 1] * 255
    small = column[..., ::2, ::2].expand(-1, -1, 2, -1, -1) + 0.5
    moved = flow.augment(small, facts(5), generator(2))
    flips = crop.draw(facts(5)["aspect"], generator(2)).flip
    assert 0 < flips.sum() < 5
    assert (moved[:, :, 1] - seen).abs().max() < 3
    sign = 1 - 2 * flips.float()
    assert torch.equal(moved[:, :, 0], moved[:, :, 1] * sign[:, None, None, None])
    assert not moved[:, :, 2].any()


def test_flow_is_decoded_from_its_numbers() -> None:
    raw = torch.tensor([128, 228], dtype=torch.uint8)[:, None, None].expand(1, 1, 2, 8, 8)
    made = Flow("flow", 4, zero=128, unit=0.2).evaluate(raw, facts(1))
    assert torch.allclose(made[0, 0, :, 0, 0], torch.tensor([0.0, 20.0, 0.0]))


@pytest.mark.parametrize("view", [Frames("video", 32), ScaledFrames("video", 32), Flow("flow", 32)])
def test_shape_type_and_contiguity(view: Frames | Flow) -> None:
    raw = noise(2, 5, 3 if isinstance(view, Frames) else 2)
    for made in (view.evaluate(raw, facts(2)), view.augment(raw, facts(2), generator())):
        assert made.shape == (2, *view.shape(tuple(raw.shape[1:])))
        assert made.dtype == torch.float32
        assert made.is_contiguous()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_of_a_gpu_are_those_of_the_cpu() -> None:
    raw = noise(4)
    for view in (Frames("video", 32), ScaledFrames("video", 32)):
        near = view.augment(raw, facts(4), generator(1))
        far = view.augment(raw.cuda(), facts(4), generator(1))
        assert far.device.type == "cuda"
        assert (near - far.cpu()).abs().max() < 1.01 / (255 * min(IMAGENET_STD))
