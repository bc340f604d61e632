"""One image file as an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import UserError


def decode(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """One image as [3, height, width] RGB, resized bicubic. Raises UserError with the path if it cannot be read."""
    try:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError, ValueError) as fault:
        raise UserError(
            f"cannot read the image {path} ({fault}); replace it, and look for others with `bench data check --deep`"
        ) from fault
    return np.asarray(resized).transpose(2, 0, 1)
