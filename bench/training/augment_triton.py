"""Random changes of training images on a GPU: all of them, of a whole batch, in two Triton kernels.

A program works on a strip of pixels of one image. What happens to a pixel depends on no other one but for the mean
grey that a change of contrast needs; the first kernel sums that up, by strips, and the second makes the images.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 1024
"""Of a strip."""
NUMBERS = 16
"""In an image's row of `numbers`."""


def change(images: Tensor, numbers: Tensor, pad: int) -> Tensor:
    """[B, 3, H, W] uint8 -> float32 in [0, 1], changed; each image by its row of [B, NUMBERS] float32.

    A row holds cosine and sine of minus the angle; -1 for an image that is flipped, else 1; the crop's top and left
    in the padded image; the amounts of brightness, contrast, saturation and hue; the numbers 0 to 3 of these four in
    the order in which they are made; the square's side, top and left.
    """
    images, numbers = images.contiguous(), numbers.contiguous()
    count, _, height, width = images.shape
    strips = triton.cdiv(height * width, PIXELS)
    grey = torch.empty(count, strips, dtype=torch.float32, device=images.device)
    changed = torch.empty(images.shape, dtype=torch.float32, device=images.device)
    sizes = (height, width, pad, strips, triton.next_power_of_2(strips))
    # Triton launches on the current device, whatever device its arguments lie on.
    with torch.cuda.device_of(images):
        _sum_grey[(count, strips)](images, numbers, grey, *sizes, PIXELS)
        _change[(count, strips)](images, numbers, grey, changed, *sizes, PIXELS)
    return changed


@triton.jit
def _sum_grey(images, numbers, grey, height, width, pad, strips, most: tl.constexpr, pixels: tl.constexpr):
    """Write a strip's sum of greys as they are when contrast has its turn."""
    image, strip = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row, place, inside = numbers + image * 16, strip * pixels + tl.arange(0, pixels), height * width
    red, green, blue = _moved(images + image * 3 * inside, row, place, height, width, pad)
    waiting = True
    for turn in tl.static_range(4):
        kind = tl.load(row + 9 + turn)
        waiting = waiting & (kind != 1)
        if waiting:
            red, green, blue = _jittered(red, green, blue, row, kind, 0.0)
    tl.store(grey + image * strips + strip, tl.sum(tl.where(place < inside, _grey(red, green, blue), 0.0), 0))


@triton.jit
def _change(images, numbers, grey, changed, height, width, pad, strips, most: tl.constexpr, pixels: tl.constexpr):
    """Write a strip of a changed image; `grey` holds the sums of its strips, of which there are at most `most`."""
    image, strip = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row, place, inside = numbers + image * 16, strip * pixels + tl.arange(0, pixels), height * width
    red, green, blue = _moved(images + image * 3 * inside, row, place, height, width, pad)
    each = tl.arange(0, most)
    mean = tl.sum(tl.load(grey + image * strips + each, mask=each < strips, other=0.0), 0) / inside
    for turn in tl.static_range(4):
        red, green, blue = _jittered(red, green, blue, row, tl.load(row + 9 + turn), mean)
    down, right = (place // width) - tl.load(row + 14), (place % width) - tl.load(row + 15)
    side = tl.load(row + 13)
    white = (down >= 0) & (down < side) & (right >= 0) & (right < side)
    out = changed + image * 3 * inside + place
    tl.store(out, tl.where(white, 1.0, red), mask=place < inside)
    tl.store(out + inside, tl.where(white, 1.0, green), mask=place < inside)
    tl.store(out + 2 * inside, tl.where(white, 1.0, blue), mask=place < inside)


@triton.jit
def _moved(image, row, place, height, width, pad):
    """The colours of the pixels that end at `place`: rotated, flipped and cut back to where they come from."""
    cosine, sine, flip = tl.load(row), tl.load(row + 1), tl.load(row + 2)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x, y = (place % width) - middle_x, (place // width) - middle_y
    # Half a pixel up and rounded down is the nearest pixel.
    column = tl.floor(flip * (cosine * x + sine * y) + middle_x + 0.5)
    line = tl.floor(cosine * y - sine * x + middle_y + 0.5)
    there = (column >= 0) & (column < width) & (line >= 0) & (line < height) & (place < height * width)
    column, line = column + tl.load(row + 4) - pad, line + tl.load(row + 3) - pad
    there = there & (column >= 0) & (column < width) & (line >= 0) & (line < height)
    source = image + tl.where(there, line.to(tl.int32) * width + column.to(tl.int32), 0)
    size = height * width
    red = tl.load(source, mask=there, other=0).to(tl.float32) / 255
    green = tl.load(source + size, mask=there, other=0).to(tl.float32) / 255
    blue = tl.load(source + 2 * size, mask=there, other=0).to(tl.float32) / 255
    return red, green, blue


@triton.jit
def _jittered(red, green, blue, row, kind, mean):
    """One of the four changes of colour: brightness, contrast, saturation, hue; `mean` is the image's mean grey."""
    if kind == 3:
        red, green, blue = _shifted(red, green, blue, tl.load(row + 8))
    else:
        amount = tl.load(row + 5 + kind.to(tl.int32))
        towards = tl.where(kind == 2, _grey(red, green, blue), tl.where(kind == 1, mean, 0.0)) * (1 - amount)
        red = _clamped(red * amount + towards)
        green = _clamped(green * amount + towards)
        blue = _clamped(blue * amount + towards)
    return red, green, blue


@triton.jit
def _shifted(red, green, blue, turns):
    """The hue moved by `turns` of the colour circle; the largest and the smallest of the three colours stay."""
    largest = tl.maximum(tl.maximum(red, green), blue)
    smallest = tl.minimum(tl.minimum(red, green), blue)
    spread = largest - smallest
    # The hue in sixths of the circle, times the spread: 0 is red, 2 green, 4 blue.
    hue = tl.where(green == largest, blue - red + 2 * spread, red - green + 4 * spread)
    hue = tl.where(red == largest, green - blue, hue) / tl.maximum(spread, 1e-30) + 6 * turns
    hue = hue - 6 * tl.floor(hue / 6)
    red = smallest + _clamped(tl.abs(hue - 3) - 1) * spread
    green = smallest + _clamped(2 - tl.abs(hue - 2)) * spread
    blue = smallest + _clamped(2 - tl.abs(hue - 4)) * spread
    return red, green, blue


@triton.jit
def _grey(red, green, blue):
    return red * 0.2989 + green * 0.587 + blue * 0.114


@triton.jit
def _clamped(value):
    return tl.minimum(tl.maximum(value, 0.0), 1.0)
