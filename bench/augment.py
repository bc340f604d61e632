"""Random changes of training images (PROTOCOL, section 3), each a function of (seed, epoch, position) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from bench.config import Augmentation
from bench.randomness import Stream, generator

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
    square = 1 + int(u[11] * largest) if largest else 0
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
        square=min(square, largest),
        square_top=int(u[12] * (height - square + 1)),
        square_left=int(u[14] * (width - square + 1)),
    )


def apply_change(image: Tensor, change: Change, pad: int) -> Tensor:
    """[3, H, W] in [0, 1] -> the same size: pad and crop, flip, rotate, colour jitter, white square."""
    height, width = image.shape[1:]
    image = F.pad(image, (pad, pad, pad, pad))[:, change.top : change.top + height, change.left : change.left + width]
    if change.flip:
        image = image.flip(2)
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
    if change.square:
        bottom, right = change.square_top + change.square, change.square_left + change.square
        image[:, change.square_top : bottom, change.square_left : right] = 1.0
    return image


def augment(images: Tensor, settings: Augmentation, seed: int, epoch: int, first_position: int) -> Tensor:
    """A batch [B, 3, H, W] in [0, 1], changed; the images stand at positions first_position, +1, ... of the epoch."""
    if not settings.enabled:
        return images
    height, width = images.shape[2:]
    changes = [
        draw_change(settings, height, width, seed, epoch, first_position + offset) for offset in range(len(images))
    ]
    return torch.stack(
        [apply_change(image, change, settings.pad) for image, change in zip(images, changes, strict=True)]
    )


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 in [0, 1] on a device; no mean or deviation is taken off (PROTOCOL, section 1)."""
    return torch.from_numpy(images).to(device).float().div_(255)
