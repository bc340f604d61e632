"""Scores of a chunk under way, in a file that grows by what is new each time that they are saved."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from bench.errors import CellFailed

_FRAME = struct.Struct("<QI")
"""In front of each piece: its bytes, and their CRC-32."""
_PLACE = struct.Struct("<5q")
"""Where a block of scores lies in the chunk's buffer: offset, rows, columns, and the strides of both."""


@dataclass
class PartialChunk:
    """A chunk of queries that is being scored: `scores` as `Scorer.chunks` gives them, of which `pairs` are done.

    `grid` tells in which order pairs are scored.
    """

    start: int
    scores: Tensor
    grid: str = ""
    pairs: int = 0
    unsaved: list[Tensor] = field(default_factory=list)
    """Blocks of `scores`, as views of it, that were done since the chunk was last saved."""

    def add(self, block: Tensor, to_save: bool) -> None:
        """A block of the scores, a view of them, is done; it may be `to_save`."""
        self.pairs += block.numel()
        if to_save:
            self.unsaved.append(block)

    @property
    def place(self) -> str:
        """Tells one state from another."""
        return f"query {self.start} pair {self.pairs}"


@dataclass(frozen=True)
class ScoreLog:
    """The file at `path` that holds the done blocks of one chunk; `key` tells of whose scores.

    It begins with what chunk it is of; then blocks follow in the order in which they were done, each with a check sum.
    What a sudden end left half written is cut off when the log is read.
    """

    path: Path
    key: str

    def save(self, chunk: PartialChunk) -> None:
        """Add what is new of a chunk, or begin anew with it. Raises CellFailed if that cannot be written."""
        head = self._head(chunk)
        try:
            begun = self._first_piece() == head
            with self.path.open("ab" if begun else "wb") as file:
                for piece in ([] if begun else [head]) + [_piece(chunk, block) for block in chunk.unsaved]:
                    file.write(_FRAME.pack(len(piece), zlib.crc32(piece)))
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            raise CellFailed(f"cannot save {self.path}: {fault.strerror}") from fault
        chunk.unsaved.clear()

    def fill(self, chunk: PartialChunk) -> None:
        """Put into a chunk that begins what was saved of it; nothing where the file tells of another or is damaged."""
        try:
            with self.path.open("r+b") as file:
                pieces = _pieces(file)
                if next(pieces, None) != self._head(chunk):
                    return
                whole = file.tell()
                for piece in pieces:
                    chunk.pairs += _put(piece, chunk)
                    whole = file.tell()
                file.truncate(whole)
        except OSError:
            return

    def delete(self) -> None:
        """Forget it: the work is finished."""
        self.path.unlink(missing_ok=True)

    def _head(self, chunk: PartialChunk) -> bytes:
        whose = {"key": self.key, "start": chunk.start, "shape": list(chunk.scores.shape), "grid": chunk.grid}
        return json.dumps(whose, sort_keys=True).encode()

    def _first_piece(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                return next(_pieces(file), None)
        except FileNotFoundError:
            return None


def _piece(chunk: PartialChunk, block: Tensor) -> bytes:
    offset = block.storage_offset() - chunk.scores.storage_offset()
    return _PLACE.pack(offset, *block.shape, *block.stride()) + block.contiguous().numpy().tobytes()


def _put(piece: bytes, chunk: PartialChunk) -> int:
    """Write a block to its place in a chunk; returns how many pairs it holds."""
    offset, rows, columns, down, right = _PLACE.unpack_from(piece)
    block = torch.from_numpy(np.frombuffer(piece, np.float32, offset=_PLACE.size).copy()).view(rows, columns)
    place = chunk.scores.as_strided((rows, columns), (down, right), chunk.scores.storage_offset() + offset)
    place.copy_(block)
    return block.numel()


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The pieces of a file up to the first that is not whole."""
    while len(frame := file.read(_FRAME.size)) == _FRAME.size:
        size, check = _FRAME.unpack(frame)
        # A damaged size may be any number.
        if size > os.fstat(file.fileno()).st_size - file.tell():
            return
        piece = file.read(size)
        if zlib.crc32(piece) != check:
            return
        yield piece
