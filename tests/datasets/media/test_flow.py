"""Optical flow: a shifted texture gives its shift; the coding is exact at rest, mirrors, and keeps half a step."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mcr_bench.datasets.media.flow import decode, dense_flow, encode, flow_images

BORDER = 16


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(H, W, 3): smooth noise over the whole range of values, grey."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    grey = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def shifted(u: int, v: int, height: int = 120, width: int = 160) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two windows of a texture: what is at (x, y) in the first is at (x + u, y + v) in the second."""
    large = texture(height + 40, width + 40)
    return large[20 : 20 + height, 20 : 20 + width], large[20 - v : 20 - v + height, 20 - u : 20 - u + width]


@pytest.mark.parametrize(("u", "v"), [(3, -2), (-5, 4), (0, 0)])
def test_a_texture_shifted_by_whole_pixels_has_that_flow(u: int, v: int) -> None:
    flow = dense_flow(*shifted(u, v))
    assert flow.shape == (120, 160, 2)
    assert flow.dtype == np.float32
    inside = flow[BORDER:-BORDER, BORDER:-BORDER]
    np.testing.assert_allclose(inside, np.broadcast_to([u, v], inside.shape), atol=0.15)


def test_flow_is_the_same_each_time() -> None:
    before, after = shifted(3, -2)
    np.testing.assert_array_equal(dense_flow(before, after), dense_flow(before, after))


def test_images_of_flow_keep_the_units_of_the_frames_when_they_are_made_smaller() -> None:
    before, after = shifted(3, -2)
    images = flow_images(np.stack([before, before]), np.stack([after, before]), size=32, bound=20)
    assert (images.shape, images.dtype) == ((2, 2, 32, 32), np.uint8)
    moved = decode(images[0], 20)[:, 6:-6, 6:-6]
    np.testing.assert_allclose(moved[0], 3, atol=0.25)
    np.testing.assert_allclose(moved[1], -2, atol=0.25)
    assert (images[1] == 128).all()


def test_codes_are_those_worked_out_by_hand() -> None:
    flow = np.array([0.0, 12.7, -12.7, 0.1, 99.0, -99.0, 0.04])
    assert encode(flow, 12.7).tolist() == [128, 255, 1, 129, 255, 1, 128]
    np.testing.assert_allclose(decode(np.array([128, 255, 1, 129], np.uint8), 12.7), [0, 12.7, -12.7, 0.1], rtol=1e-5)


def test_coding_keeps_half_a_step() -> None:
    bound = 20.0
    flow = np.random.default_rng(0).uniform(-bound, bound, 10_000)
    error = np.abs(decode(encode(flow, bound), bound) - flow)
    assert error.max() <= bound / 254 * (1 + 1e-5)
    assert error.max() > 0.9 * bound / 254


def test_a_mirrored_flow_is_256_minus_the_code() -> None:
    flow = np.random.default_rng(1).uniform(-30, 30, 1000)
    np.testing.assert_array_equal(encode(-flow, 20), 256 - encode(flow, 20).astype(int))


def test_frames_too_small_for_flow_are_an_error_that_names_their_size() -> None:
    small = np.zeros((11, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="frames of 40 x 11 pixels are too small"):
        dense_flow(small, small)
