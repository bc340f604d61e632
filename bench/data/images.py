"""One image file as an array: which files are taken, and what is made of their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.data.dataset import Box
from bench.errors import UserError

FORMATS = ("JPEG", "PNG", "BMP")
"""The formats of the sets. Pillow knows many more, some of which run other programs."""

WHOLE_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Pillow's modes of at most eight bits a channel, all of which it turns into RGB without loss of range."""

_ORIENTATION = 0x0112
"""Number of the EXIF field that says how a viewer should turn a picture; 1 is upright."""


def decode(path: Path, height: int, width: int, box: Box | None = None) -> NDArray[np.uint8]:
    """One image as [3, height, width] RGB, resized bicubic. Raises UserError with the path if it cannot be read."""
    return decode_bytes(read_bytes(path), path, height, width, box)


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture, as its file says; None if that cannot be read. No pixels are."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception:  # Pillow's decoders raise many kinds on damaged bytes
        return None


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file. Raises UserError with the path if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise unreadable(path, str(fault.strerror)) from fault


def decode_bytes(content: bytes, path: Path, height: int, width: int, box: Box | None = None) -> NDArray[np.uint8]:
    """The image in a file's bytes as [3, height, width] RGB, resized bicubic. Raises UserError with the path.

    Where a box is given, that part of the picture is taken; what of the box lies outside the picture is left out.
    """
    try:
        picture = to_rgb(content)
        if box is not None:
            picture = picture.crop(within(box, picture.size))
    except ValueError as fault:
        raise unreadable(path, str(fault)) from fault
    return resize(picture, height, width)


def resize(picture: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """A picture in RGB as [3, height, width], resized bicubic."""
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def within(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in a picture of a size, width and height. Raises ValueError if nothing does."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1])
    if left >= right or top >= bottom:
        edges = ", ".join(map(str, box))
        raise ValueError(f"the box {edges} lies outside the picture, which is {size[0]} x {size[1]} pixels")
    return left, top, right, bottom


def to_rgb(content: bytes) -> Image.Image:
    """The picture in a file's bytes, in RGB, its pixels as they are stored: neither turned nor blended.

    Raises ValueError with the reason, whatever is wrong with the bytes.
    """
    try:
        # `verify` looks at checksums, reading the pixels at whether all are there; `verify` leaves an image unusable.
        with _open(content) as image:
            image.verify()
        with _open(content) as image:
            return as_rgb(image)
    except UnidentifiedImageError as fault:
        raise ValueError(f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file") from fault
    except Exception as fault:  # Pillow's decoders raise many kinds on damaged bytes
        # Pillow's own words name the buffer in memory, which tells nothing.
        raise ValueError(str(fault).partition(" <_io")[0] or type(fault).__name__) from fault


def remarks(content: bytes) -> list[str]:
    """What a viewer shows otherwise than `to_rgb` gives it; of bytes that `to_rgb` takes."""
    found = []
    with _open(content) as image:
        if _orientation(image) != 1:
            found.append("carry an EXIF orientation; it is not applied, the pixels are taken as stored")
        if image.has_transparency_data and image.mode in WHOLE_MODES and _least_alpha(image) < 255:
            found.append("are transparent in part; that is left out, the colours are taken as stored")
    return found


def unreadable(path: Path, why: str) -> UserError:
    """Say that an image cannot be used, and why."""
    return UserError(
        f"cannot read the image {path} ({why}); replace it, and look for others with `bench data check --deep`"
    )


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=FORMATS)


def as_rgb(image: Image.Image) -> Image.Image:
    """An open picture in RGB, its pixels as they are stored. Raises ValueError for a mode without a certain meaning."""
    if image.mode.startswith("I;16"):
        # Pillow would cut everything above 255 off.
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode not in WHOLE_MODES:
        raise ValueError(f"its pixels are of mode {image.mode}, which has no certain meaning as RGB; store it as 8 bit")
    if image.mode == "P" and "transparency" in image.info:
        # Straight to RGB gives the same colours, and a warning.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF fields change no pixel
        return 1


def _least_alpha(image: Image.Image) -> int:
    return image.convert("RGBA").getchannel("A").getextrema()[0]
