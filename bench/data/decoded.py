"""A file of decoded images, and how it is told from one that is damaged, stale or another's.

<name>.npy    uint8 [n, 3, height, width]
<name>.json   this file's `Note`: what the images and the file were when it was made
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from bench.config import Settings
from bench.data.dataset import ImageRecord
from bench.data.images import decode, read_bytes, unreadable
from bench.data.turns import temporary
from bench.progress import Progress

COMPARED = 8
"""Images that are decoded again each time a file is opened."""

NO_FILE = "is not there"

Result = TypeVar("Result")


class Note(Settings):
    """What a file of decoded images was made of. Digests are SHA-256, in hexadecimal."""

    modified: int
    """Modification time of the file itself, in nanoseconds."""
    stamps: str
    """Of the sizes and modification times of the image files."""
    sources: str
    """Of the bytes of the image files."""
    pixels: str
    """Of the decoded images."""


@dataclass(frozen=True)
class DecodedFile:
    """The images `records`, decoded at a size, at `path` (which ends in .npy)."""

    path: Path
    records: tuple[ImageRecord, ...]
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[n, 3, height, width]."""
        return len(self.records), 3, self.height, self.width

    @property
    def image_bytes(self) -> int:
        """Bytes of one decoded image."""
        return 3 * self.height * self.width

    @cached_property
    def header(self) -> bytes:
        """The bytes before the first image, as NumPy writes them."""
        written = io.BytesIO()
        np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": self.shape})
        return written.getvalue()

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + len(self.records) * self.image_bytes

    @property
    def note_path(self) -> Path:
        """Where the note lies."""
        return self.path.with_suffix(".json")

    def open(self) -> np.memmap:
        """uint8 [n, 3, height, width], memory-mapped."""
        return np.memmap(self.path, np.uint8, "r", offset=len(self.header), shape=self.shape)

    def remove(self) -> None:
        """Delete the file and its note."""
        self.note_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def write_note(self, note: Note) -> None:
        """Put the note beside the file, whole or not at all. Raises OSError."""
        draft = temporary(self.path, f"note-{secrets.token_hex(4)}")
        try:
            draft.write_text(note.model_dump_json(indent=1), encoding="utf-8")
            draft.replace(self.note_path)
        finally:
            draft.unlink(missing_ok=True)

    def stamps(self) -> str:
        """What sizes and modification times the image files have now. Raises UserError for one that is gone."""
        times = []
        for record in self.records:
            try:
                status = os.stat(record.path)  # noqa: PTH116 - a third of the time, over a hundred thousand images
            except OSError as fault:
                raise unreadable(record.path, str(fault.strerror)) from fault
            times.append((status.st_size, status.st_mtime_ns))
        return hashlib.sha256(np.array(times, np.int64).tobytes()).hexdigest()

    def doubt(self) -> str:
        """At little cost: why the file may not be what it was, or not what its images give now; "" if all is well.

        Raises UserError for an image that cannot be read, OSError if the file goes meanwhile.
        """
        note, fault = self._noted()
        if note is None:
            return fault
        if self.path.stat().st_mtime_ns != note.modified:
            return "was written to"
        if self.stamps() != note.stamps:
            return self._changed()
        return self._comparison()

    def fault(self, what: str, workers: int, progress: Progress) -> str:
        """Why the file has to be made anew; "" if each byte is what its images gave, and these are the same still.

        Where times alone have changed, the note is brought up to date. Raises UserError for an image that cannot be
        read.
        """
        try:
            return self._fault(what, workers, progress)
        except OSError as fault:
            return f"cannot be read ({fault.strerror})"

    def _fault(self, what: str, workers: int, progress: Progress) -> str:
        note, fault = self._noted()
        if note is None:
            return fault
        modified, stamps = self.path.stat().st_mtime_ns, self.stamps()
        if modified != note.modified and self._digest_of_pixels(what, workers, progress) != note.pixels:
            return "holds something else than was decoded"
        if stamps != note.stamps and self._digest_of_sources(what, workers, progress) != note.sources:
            return self._changed()
        if fault := self._comparison():
            return fault
        current = note.model_copy(update={"modified": modified, "stamps": stamps})
        if current != note:
            self._try_to_note(current)
        return ""

    def _noted(self) -> tuple[Note | None, str]:
        """The note of a file whose form is right; or none, and what is wrong."""
        try:
            note = Note.model_validate_json(self.note_path.read_bytes())
            with self.path.open("rb") as file:
                whole = file.read(len(self.header)) == self.header and os.fstat(file.fileno()).st_size == self.size
        except FileNotFoundError:
            return None, "lacks the note of what it was made of" if self.path.exists() else NO_FILE
        except (OSError, ValidationError):
            return None, "cannot be read"
        return (note, "") if whole else (None, "is damaged")

    def _comparison(self) -> str:
        """Decode a few images again, spread over the file."""
        images = self.open()
        for position in sorted(set(np.linspace(0, len(self.records) - 1, COMPARED).astype(int).tolist())):
            record = self.records[position]
            if not np.array_equal(images[position], decode(record.path, self.height, self.width, record.box)):
                return f"does not hold what {record.path} gives, with this version of Pillow"
        return ""

    def _changed(self) -> str:
        newest = max(self.records, key=lambda record: record.path.stat().st_mtime_ns)
        return f"was made of other images of the same names and sizes; the newest is {newest.path} now"

    def _digest_of_pixels(self, what: str, workers: int, progress: Progress) -> str:
        with self.path.open("rb") as file:
            handle, start = file.fileno(), len(self.header)

            def digest(position: int) -> bytes:
                content = os.pread(handle, self.image_bytes, start + position * self.image_bytes)
                return hashlib.sha256(content).digest()

            return digest_of(in_threads(digest, len(self.records), workers, f"check decoded {what}", progress))

    def _digest_of_sources(self, what: str, workers: int, progress: Progress) -> str:
        def digest(position: int) -> bytes:
            return hashlib.sha256(read_bytes(self.records[position].path)).digest()

        return digest_of(in_threads(digest, len(self.records), workers, f"check images of {what}", progress))

    def _try_to_note(self, note: Note) -> None:
        try:
            self.write_note(note)
        except OSError:
            return  # a reader without the right to write looks closely each time


def digest_of(digests: Iterable[bytes]) -> str:
    """One digest of many, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def in_threads(
    work: Callable[[int], Result],
    count: int,
    workers: int,
    what: str,
    progress: Progress,
    tell: Callable[[int], None] = lambda done: None,
) -> list[Result]:
    """What `work` gives for 0, 1, ... count - 1, with a bar; `tell` hears how many are done. An exception ends all."""
    results = []
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        with progress.bar(count, what, "image") as bar:
            for result in pool.map(work, range(count)):
                results.append(result)
                bar.update()
                tell(len(results))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
