"""Small pictures for a page, each made once."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from bench.data.images import read_bytes, to_rgb
from bench.errors import UserError

LARGEST = (64, 128)
"""Width and height that a thumbnail fits into, in pixels."""
QUALITY = 55
"""Of WebP, 0 to 100: at this size what it costs is hardly seen."""


class Thumbnails:
    """WebP pictures in base64 by the path of their image; `gone` are images that cannot be read any more."""

    def __init__(self) -> None:
        self.gone: dict[Path, str] = {}
        self._made: dict[Path, str] = {}

    def of(self, path: Path) -> str | None:
        """The thumbnail of an image, None if it cannot be read."""
        if path not in self._made and path not in self.gone:
            try:
                self._made[path] = thumbnail(path)
            except UserError as fault:
                self.gone[path] = str(fault)
        return self._made.get(path)


def thumbnail(path: Path) -> str:
    """An image as WebP in base64, made smaller where it is larger than LARGEST. Raises UserError with the path."""
    content = read_bytes(path)
    try:
        image = to_rgb(content)
    except ValueError as fault:
        raise UserError(f"cannot read the image {path} ({fault})") from fault
    image.thumbnail(LARGEST, Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    image.save(stored, "WEBP", quality=QUALITY, method=4)
    return base64.b64encode(stored.getvalue()).decode()
