"""Ways in which a small JSON file of a results folder may be unusable."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def refuse(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system refuse to read a file, as it does for others' files and broken disks."""
    whole = Path.read_bytes

    def read(self: Path) -> bytes:
        if self == path:
            raise OSError(number, os.strerror(number), str(path))
        return whole(self)

    monkeypatch.setattr(Path, "read_bytes", read)


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return damage


def from_a_newer_version(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "invented_later": 1}))


def with_endless_numbers(path: Path) -> None:
    values = json.loads(path.read_text())
    values["seconds"] = {"training": float("inf")}
    path.write_text(json.dumps(values))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:100]), "is damaged"),
    "emptied": (lambda path: path.write_bytes(b""), "is damaged"),
    "of random bytes": (lambda path: path.write_bytes(bytes(range(256))), "is damaged"),
    "of other JSON": (lambda path: path.write_text("[1, 2]"), "is not of this version"),
    "newer": (from_a_newer_version, "unknown: invented_later"),
    "endless": (with_endless_numbers, "seconds.training: "),
    "a folder": (replaced(Path.mkdir), "is not a file"),
    "a pipe": (replaced(os.mkfifo), "is not a file"),
    "a loop of links": (replaced(lambda path: path.symlink_to(path.name)), "cannot be read"),
}
"""By name: what makes a record so, and words of what is said of it."""

REFUSALS = {errno.EACCES: "ask its owner", errno.EIO: "Input/output error"}
"""By the number of the system's error: words of what is said of a file that may not, or cannot, be read."""
