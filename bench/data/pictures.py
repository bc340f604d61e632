"""Images as programs hold them - paths, Pillow's, arrays, tensors - made into what the data sets' images are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.data.images import FORMATS, as_rgb, resize, to_rgb
from bench.data.listing import brief, is_folder, scan
from bench.errors import UserError
from bench.system.paths import expand

Picture = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""One image: the path of a JPEG, PNG or BMP file, a Pillow image, an array [H, W, 3] uint8, or a tensor [3, H, W],
uint8 or with values from 0 to 1. Arrays and tensors are RGB."""

Pictures = Picture | Sequence[Picture]
"""Images: one, several, an array [n, H, W, 3], a tensor [n, 3, H, W], or a folder with those in it and below it."""

_DEPTH = 32


def is_one(images: Pictures) -> bool:
    """Whether a single image is meant, which no folder is."""
    if isinstance(images, str | Path):
        return not is_folder(expand(images))
    return isinstance(images, Image.Image) or (isinstance(images, np.ndarray | Tensor) and images.ndim == 3)


def listed(images: Pictures) -> Sequence[Picture]:
    """The images one by one, each still as it was given; those of a folder as `pictures_in` lists them."""
    if is_one(images):
        return [images]
    return pictures_in(images) if isinstance(images, str | Path) else images


def pictures_in(folder: str | Path) -> list[Path]:
    """The paths of the pictures in a folder and below it, sorted. Raises UserError for none, and for broken ones."""
    root = expand(folder)
    if not is_folder(root):
        raise UserError(f"{root} is no folder; name one that holds pictures")
    listing = scan(root, _DEPTH)
    if listing.broken:
        raise UserError(f"no pictures, though named so, in {root}: {brief(listing.broken)}; take them away")
    if not listing.files:
        raise UserError(f"there is no picture in {root}; name a folder that holds JPEG, PNG or BMP files")
    return [root / name for name in listing.files]


def read_picture(path: Path) -> Image.Image:
    """The picture in a file, in RGB, its pixels as they are stored. Raises UserError with the path and the reason."""
    try:
        return to_rgb(path.read_bytes())
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise UserError(
            f"cannot read the picture {path} ({reason}); give a whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
        ) from fault


def as_decoded(picture: Picture, height: int, width: int) -> NDArray[np.uint8]:
    """One image as [3, height, width] RGB, resized as a data set's images are.

    Raises UserError for a file that cannot be read, with its path, and for an image of another form.
    """
    if isinstance(picture, str | Path):
        return resize(read_picture(expand(picture)), height, width)
    try:
        opened = picture if isinstance(picture, Image.Image) else Image.fromarray(_pixels(picture))
        return resize(as_rgb(opened), height, width)
    except (ValueError, OSError) as fault:  # OSError from Pillow, which reads pixels late
        raise UserError(f"an image cannot be used: {fault}") from fault


def _pixels(picture: object) -> NDArray[np.uint8]:
    """[H, W, 3] uint8. Raises ValueError."""
    if isinstance(picture, Tensor):
        values = picture.detach().cpu()
        if values.is_floating_point():
            # Written so that NaN is refused as well.
            if not bool(((values >= 0) & (values <= 1)).all()):
                raise ValueError("a tensor of floating-point numbers needs values from 0 to 1")
            values = (values.float() * 255).round().to(torch.uint8)
        if values.dtype != torch.uint8 or values.ndim != 3 or values.shape[0] != 3 or not values.numel():
            raise ValueError(f"a tensor needs shape [3, H, W], uint8 or from 0 to 1, not {_form(picture)}")
        return values.permute(1, 2, 0).contiguous().numpy()
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"needs a path, a Pillow image, an array or a tensor, not {type(picture).__name__}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"an array needs shape [H, W, 3] of uint8, not {_form(picture)}")
    return np.ascontiguousarray(picture)


def _form(values: Tensor | np.ndarray) -> str:
    return f"{list(values.shape)} of {str(values.dtype).removeprefix('torch.')}"
