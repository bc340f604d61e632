"""Random changes of training images (PROTOCOL, section 3), each a function of (seed, epoch, position) alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.config import Augmentation
from bench.data.tensors import as_float
from bench.randomness import Stream, generator
from variants.kernels import kernel_name

_DRAWS = 15


@dataclass(frozen=True)
class Change:
    """What happens to one image; offsets and sides in pixels, angle in degrees, hue in turns."""

    top: int
    left: int
    flip: bool
    angle: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    jitter_order: tuple[int, ...]
    square: int
    square_top: int
    square_left: int


def draw_change(settings: Augmentation, height: int, width: int, seed: int, epoch: int, position: int) -> Change:
    """The change of the image at a position of an epoch."""
    u = generator(seed, Stream.AUGMENTATION, epoch, position).random(_DRAWS)
    low, high = settings.jitter_low, settings.jitter_high
    largest = int(settings.erase * min(height, width))
    # Side 1 to largest - 1, and a pixel at least is left below and right of it, as in the public code [I].
    square = 1 + int(u[11] * (largest - 1)) if largest > 1 else 0
    return Change(
        top=int(u[0] * (2 * settings.pad + 1)),
        left=int(u[1] * (2 * settings.pad + 1)),
        flip=bool(u[2] < settings.flip),
        angle=(2 * u[3] - 1) * settings.rotation,
        brightness=low + u[4] * (high - low),
        contrast=low + u[5] * (high - low),
        saturation=low + u[6] * (high - low),
        hue=(2 * u[7] - 1) * settings.hue,
        # The order of the four colour changes is random, as in torchvision's ColorJitter; these draws rank them.
        jitter_order=tuple(np.argsort(u[[8, 9, 10, 13]]).tolist()),
        square=square,
        square_top=int(u[12] * (height - square)),
        square_left=int(u[14] * (width - square)),
    )


def apply_changes(images: Tensor, changes: Sequence[Change], pad: int) -> Tensor:
    """[B, 3, H, W] in [0, 1] -> the same size: pad and crop, flip, rotate, colour jitter, white square; each its own.

    On a CPU one image after the other, since what happens to it then stays in the cache; elsewhere all together.
    """
    together = 1 if images.device.type == "cpu" else len(images)
    changed = torch.empty_like(images)
    for start in range(0, len(images), together):
        some, part = images[start : start + together], changes[start : start + together]
        moved = _turn(_crop(some, part, pad), part)
        _jitter(moved, part)
        changed[start : start + together] = moved
    for image, change in zip(changed, changes, strict=True):
        bottom, right = change.square_top + change.square, change.square_left + change.square
        image[:, change.square_top : bottom, change.square_left : right] = 1.0
    return changed


def augment(images: Tensor, settings: Augmentation, seed: int, epoch: int, first_position: int) -> Tensor:
    """A batch [B, 3, H, W] uint8 -> float32 in [0, 1], changed as the images at first_position, +1, ... of an epoch."""
    if not settings.enabled:
        return as_float(images)
    height, width = images.shape[2:]
    changes = [
        draw_change(settings, height, width, seed, epoch, first_position + offset) for offset in range(len(images))
    ]
    if images.device.type == "cuda" and kernel_name(images.device) == "triton":
        numbers = torch.tensor([_numbers(change) for change in changes])
        return _changed_on_gpu(images, numbers.pin_memory().to(images.device, non_blocking=True), settings.pad)
    return apply_changes(as_float(images), changes, settings.pad)


@torch.library.custom_op("pairbench::change_images", mutates_args=())
def _changed_on_gpu(images: Tensor, numbers: Tensor, pad: int) -> Tensor:
    """As `apply_changes` of uint8 images, whose changes are the rows of `numbers`, in two kernels."""
    from bench.training import augment_triton

    return augment_triton.change(images, numbers, pad)


@_changed_on_gpu.register_fake
def _(images: Tensor, numbers: Tensor, pad: int) -> Tensor:
    return images.new_empty(images.shape, dtype=torch.float32)


def _numbers(change: Change) -> list[float]:
    """A change as `augment_triton.change` takes it."""
    angle = -math.radians(change.angle)
    moved = (math.cos(angle), math.sin(angle), -1.0 if change.flip else 1.0, change.top, change.left)
    colours = (change.brightness, change.contrast, change.saturation, change.hue, *change.jitter_order)
    return [float(number) for number in (*moved, *colours, change.square, change.square_top, change.square_left)]


def _crop(images: Tensor, changes: Sequence[Change], pad: int) -> Tensor:
    """The images as cut, at their places, out of ones padded with black."""
    if not pad:
        return images
    height, width = images.shape[2:]
    padded = F.pad(images, (pad, pad, pad, pad))
    cut = [
        image[:, change.top : change.top + height, change.left : change.left + width]
        for image, change in zip(padded, changes, strict=True)
    ]
    return cut[0][None] if len(cut) == 1 else torch.stack(cut)


def _turn(images: Tensor, changes: Sequence[Change]) -> Tensor:
    """Flipped, then rotated counter-clockwise about the centre; the nearest pixel, black where there is none."""
    height, width = images.shape[2:]
    angle = _column(images, [-math.radians(change.angle) for change in changes])
    side = _column(images, [-1.0 if change.flip else 1.0 for change in changes])
    # Pixel centres, seen from the image's centre, along both axes.
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    y = (torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2)[:, None]
    grid = images.new_empty(len(images), height, width, 2)
    # Where each pixel comes from, as a share of half the image's size.
    scale_x, scale_y = side * (2 / width), 2 / height
    torch.add(angle.cos() * scale_x * x, angle.sin() * scale_x * y, out=grid[..., 0])
    torch.add(angle.sin() * -scale_y * x, angle.cos() * scale_y * y, out=grid[..., 1])
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def _jitter(images: Tensor, changes: Sequence[Change]) -> None:
    """The four colour changes in place, in each image's own order, as torchvision's ColorJitter makes them."""
    jitters = (
        (_brighten, [change.brightness for change in changes]),
        (_contrast, [change.contrast for change in changes]),
        (_saturate, [change.saturation for change in changes]),
        (_shift_hue, [change.hue for change in changes]),
    )
    for turn in range(len(jitters)):
        for number, (jitter, amounts) in enumerate(jitters):
            chosen = [place for place, change in enumerate(changes) if change.jitter_order[turn] == number]
            if len(chosen) == len(changes):
                jitter(images, _column(images, amounts)[..., None])
            elif chosen:
                some = images.clone()
                jitter(some, _column(images, amounts)[..., None])
                is_chosen = _column(images, [place in chosen for place in range(len(changes))]).bool()
                # Not by assigning to `images[chosen]`, for which a GPU sorts where the order of sums is fixed.
                torch.where(is_chosen[..., None], some, images, out=images)


def _brighten(images: Tensor, amount: Tensor) -> None:
    images.mul_(amount).clamp_(0, 1)


def _contrast(images: Tensor, amount: Tensor) -> None:
    """Away from, or towards, the mean grey."""
    means = images.mean(dim=(2, 3), keepdim=True)
    images.mul_(amount).add_(_grey(means) * (1 - amount)).clamp_(0, 1)


def _saturate(images: Tensor, amount: Tensor) -> None:
    """Away from, or towards, each pixel's grey."""
    grey = _grey(images)
    images.mul_(amount).add_(grey.mul_(1 - amount)).clamp_(0, 1)


def _shift_hue(images: Tensor, turns: Tensor) -> None:
    """A pixel's largest and smallest value stay; the hue between them moves by `turns` of the colour circle."""
    red, green, blue = images.split(1, dim=1)
    largest = torch.maximum(torch.maximum(red, green), blue)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    spread = largest - smallest
    # The hue in sixths of the circle, times the spread: 0 is red, 2 green, 4 blue.
    hue = torch.where(
        red == largest,
        green - blue,
        torch.where(green == largest, (blue - red).add_(spread, alpha=2), (red - green).add_(spread, alpha=4)),
    )
    hue.div_(spread.clamp(min=torch.finfo(spread.dtype).tiny)).add_(6 * turns)
    hue.sub_((hue / 6).floor_(), alpha=6)
    # Each colour is a plateau of the circle with a slope on both sides.
    for channel, (centre, sign, offset) in enumerate(((3, 1, -1), (2, -1, 2), (4, -1, 2))):
        share = (hue - centre).abs_().mul_(sign).add_(offset).clamp_(0, 1)
        torch.addcmul(smallest, share, spread, out=images[:, channel : channel + 1])


def _grey(images: Tensor) -> Tensor:
    """[B, 3, ...] -> [B, 1, ...]."""
    red, green, blue = images.split(1, dim=1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _column(like: Tensor, values: Sequence[float]) -> Tensor:
    """[B, 1, 1] beside images [B, ...]."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
