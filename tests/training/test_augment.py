"""Augmentation: what each change does, and that nothing but (seed, epoch, position) decides it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from bench.config import Augmentation
from bench.data.tensors import as_float
from bench.training.augment import Change, _crop, _jitter, _turn, apply_changes, augment, draw_change

NOTHING = Change(2, 2, False, 0.0, 1.0, 1.0, 1.0, 0.0, (0, 1, 2, 3), 0, 0, 0)


def image() -> torch.Tensor:
    return torch.rand(3, 20, 10, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def changed(**fields: object) -> torch.Tensor:
    return apply_changes(image()[None], [dataclasses.replace(NOTHING, **fields)], pad=2)[0]


def test_the_change_that_changes_nothing():
    torch.testing.assert_close(changed(), image(), atol=1e-5, rtol=0)


def test_crop_shifts_and_fills_with_black():
    torch.testing.assert_close(changed(top=0)[:, 2:], image()[:, :-2], atol=1e-5, rtol=0)
    assert changed(top=0)[:, :2].abs().max() < 1e-5


def test_flip_mirrors_left_and_right():
    torch.testing.assert_close(changed(flip=True), image().flip(2), atol=1e-5, rtol=0)


def test_brightness_scales_and_clips():
    torch.testing.assert_close(changed(brightness=2.0), (image() * 2).clamp(max=1), atol=1e-5, rtol=0)


def test_no_saturation_is_grey():
    grey = changed(saturation=0.0)
    torch.testing.assert_close(grey[0], grey[1], atol=1e-5, rtol=0)


def test_the_order_of_colour_changes_counts():
    first = changed(brightness=1.8, contrast=0.5, jitter_order=(0, 1, 2, 3))
    second = changed(brightness=1.8, contrast=0.5, jitter_order=(1, 0, 2, 3))
    assert (first - second).abs().max() > 0.01


def one_by_one(image: torch.Tensor, change: Change, pad: int) -> torch.Tensor:
    """The changes as torchvision makes them, one after the other."""
    height, width = image.shape[1:]
    image = transforms.crop(transforms.pad(image, pad), change.top, change.left, height, width)
    if change.flip:
        image = transforms.horizontal_flip(image)
    image = transforms.rotate(image, change.angle, InterpolationMode.NEAREST)
    jitters = (
        (transforms.adjust_brightness, change.brightness),
        (transforms.adjust_contrast, change.contrast),
        (transforms.adjust_saturation, change.saturation),
        (transforms.adjust_hue, change.hue),
    )
    for number in change.jitter_order:
        jitter, amount = jitters[number]
        image = jitter(image, amount)
    bottom, right = change.square_top + change.square, change.square_left + change.square
    image[:, change.square_top : bottom, change.square_left : right] = 1.0
    return image


@pytest.mark.parametrize("rotation", [5, 180])
@pytest.mark.parametrize("pad", [0, 7])
def test_images_are_changed_as_torchvision_changes_them(rotation, pad):
    settings = Augmentation(rotation=rotation, pad=pad)
    # Steps of 1/255, as in files: greys, ties between colours, black and white are among them.
    images = torch.randint(0, 256, (24, 3, 48, 20), generator=torch.Generator().manual_seed(1)).float() / 255
    images[:4] = images[:4, :1]
    changes = [draw_change(settings, 48, 20, 0, 0, position) for position in range(24)]
    expected = torch.stack(
        [one_by_one(image.clone(), change, pad) for image, change in zip(images, changes, strict=True)]
    )
    off = (apply_changes(images, changes, pad) - expected).abs().amax(dim=1) > 1e-4
    assert off.float().mean() < 1e-3  # pixels half way between two, which rounding sends to either


def test_images_together_are_changed_as_each_by_itself():
    """What a GPU does with a batch at once is what a CPU does image by image."""
    settings = Augmentation(pad=3)
    images = torch.rand(12, 3, 20, 10)
    changes = [draw_change(settings, 20, 10, 0, 0, position) for position in range(12)]
    together = _turn(_crop(images, changes, settings.pad), changes)
    _jitter(together, changes)
    bare = [dataclasses.replace(change, square=0) for change in changes]
    torch.testing.assert_close(together, apply_changes(images, bare, settings.pad))


def test_the_square_is_white_and_nowhere_else():
    found = changed(square=4, square_top=3, square_left=5)
    assert found[:, 3:7, 5:9].eq(1).all()
    outside = torch.ones(20, 10, dtype=torch.bool)
    outside[3:7, 5:9] = False
    torch.testing.assert_close(found[:, outside], image()[:, outside], atol=1e-5, rtol=0)


def test_draws_stay_in_the_ranges_of_the_protocol():
    settings = Augmentation()
    draws = [draw_change(settings, 384, 128, 0, 0, position) for position in range(2000)]
    assert {change.top for change in draws} == {change.left for change in draws} == set(range(21))
    assert min(change.square for change in draws) >= 1 and max(change.square for change in draws) == int(0.8 * 128) - 1
    assert all(change.square_top + change.square < 384 for change in draws)
    assert all(change.square_left + change.square < 128 for change in draws)
    for name, low, high in (
        ("angle", -5, 5),
        ("brightness", 0.5, 2),
        ("contrast", 0.5, 2),
        ("saturation", 0.5, 2),
        ("hue", -0.1, 0.1),
    ):
        values = np.array([getattr(change, name) for change in draws])
        assert low <= values.min() < low + 0.02 * (high - low) and high - 0.02 * (high - low) < values.max() <= high
    assert 0.45 < np.mean([change.flip for change in draws]) < 0.55
    assert len({change.jitter_order for change in draws}) == 24


def test_an_image_is_changed_alike_in_whatever_batch_it_stands():
    images = torch.randint(0, 256, (6, 3, 20, 10), dtype=torch.uint8)
    settings = Augmentation(pad=2)
    whole = augment(images, settings, seed=1, epoch=2, first_position=12)
    parts = [augment(images[i : i + 2], settings, seed=1, epoch=2, first_position=12 + i) for i in (0, 2, 4)]
    assert torch.equal(whole, torch.cat(parts))


def test_seed_epoch_and_position_each_change_the_draw():
    settings = Augmentation()
    base = draw_change(settings, 64, 32, 0, 0, 0)
    assert len({base, *(draw_change(settings, 64, 32, *place) for place in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))}) == 4


def test_the_input_is_not_written_to():
    images = torch.full((2, 3, 8, 8), 7, dtype=torch.uint8)
    augment(images, Augmentation(pad=1), 0, 0, 0)
    assert images.eq(7).all()
    batch = torch.full((1, 3, 8, 8), 0.5)
    settings = Augmentation(pad=0, rotation=0)
    apply_changes(batch, [draw_change(settings, 8, 8, 0, 0, 0)], settings.pad)
    assert batch.eq(0.5).all()


def test_switched_off_it_returns_the_images():
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(augment(images, Augmentation(enabled=False), 0, 0, 0), as_float(images))
