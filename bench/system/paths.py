"""Paths as people write them, made into those that programs open. Each is expanded once, where it comes in."""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import UserError


def expand(place: str | Path) -> Path:
    """What a person wrote, with the home folder in the place of `~` or `~name` at its beginning; a Path as it is.

    Raises UserError for nothing at all, and where the home folder is not known.
    """
    if isinstance(place, Path):
        return place
    if not place.strip():
        raise UserError("an empty path: write which file or folder is meant")
    expanded = os.path.expanduser(place)  # noqa: PTH111 - a Path would first turn ./~ into ~
    if place.startswith("~") and expanded == place:
        raise UserError(f"{place}: the home folder that {place.split('/')[0]} stands for is not known; write it out")
    return Path(expanded)
