"""Representations that memory does not hold, or that an interruption must not cost, in memory-mapped files."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import CellFailed
from bench.journal.record import write_atomically
from variants._base import Repr

_PREFIX = "spill-"
_DONE = "done"


class SpilledRepr:
    """Representations of `count` images in a folder.

    Without a key the folder is temporary and goes when this is closed. With one it stays until `delete`, and holds
    `done` images from the start on: those that an earlier process had marked. Each access maps its own images alone,
    so that no more of a file is ever counted as this process's memory.
    """

    def __init__(self, folder: Path | None, count: int, like: Repr, key: str = "") -> None:
        """`like` shows names, shapes and types. Raises CellFailed with the system's reason if there is no room.

        `folder` is this process's own: what a killed predecessor left in it for nobody is deleted.
        """
        self._like = dict(like.items())
        self._lasting = bool(key and folder is not None)
        try:
            for left in folder.glob(f"{_PREFIX}*") if folder is not None else ():
                shutil.rmtree(left)
            if self._lasting:
                self._folder = _place(folder, key)
                self._folder.mkdir(exist_ok=True)
            elif folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            else:
                # Not from tempfile, whose folders nobody else may enter.
                self._folder = folder / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
                self._folder.mkdir()
            self.done = self._marked(count)
            if not self.done:
                for name, tensor in self._like.items():
                    with self._file(name).open("wb") as file:
                        file.truncate(count * _row_bytes(tensor))
        except OSError as fault:
            raise CellFailed(f"cannot keep representations in {folder}: {fault.strerror}") from fault

    @staticmethod
    def size(folder: Path, key: str) -> int:
        """Bytes that an earlier process left behind under a key."""
        return sum(path.stat().st_size for path in _place(folder, key).glob("*"))

    @staticmethod
    def delete(folder: Path, key: str) -> None:
        """Forget what was kept under a key."""
        shutil.rmtree(_place(folder, key), ignore_errors=True)

    def write(self, start: int, part: Repr) -> None:
        """Store the images start, start + 1, ... Raises CellFailed if the disk is full."""
        try:
            for name, tensor in part.items():
                with self._file(name).open("r+b") as file:
                    file.seek(start * _row_bytes(tensor))
                    file.write(tensor.cpu().contiguous().view(torch.uint8).numpy())
        except OSError as fault:
            raise CellFailed(f"cannot keep representations in {self._folder}: {fault.strerror}") from fault

    def read(self, start: int, stop: int) -> Repr:
        """The images start to stop, on the device from which they came."""
        return Repr(**{name: self._map(name, tensor, start, stop) for name, tensor in self._like.items()})

    def mark(self, done: int) -> str:
        """Note that the first `done` images are there, once they are on disk; returns a name of that."""
        for name in self._like:
            with self._file(name).open("r+b") as file:
                os.fsync(file.fileno())
        write_atomically(self._folder / _DONE, str(done).encode())
        self.done = done
        return f"{self._folder.name} {done} images"

    def close(self) -> None:
        """Delete the files if they are temporary."""
        if not self._lasting:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _marked(self, count: int) -> int:
        """Images that are there; none if a file is gone or not of the right size."""
        try:
            done = int((self._folder / _DONE).read_text())
            sizes = {name: self._file(name).stat().st_size for name in self._like}
        except (OSError, ValueError):
            return 0
        return done if sizes == {name: count * _row_bytes(like) for name, like in self._like.items()} else 0

    def _map(self, name: str, like: Tensor, start: int, stop: int) -> Tensor:
        size = _row_bytes(like)
        # Mode "c": torch takes only arrays that could be written to; what is written stays in memory.
        rows = np.memmap(self._file(name), np.uint8, "c", offset=start * size, shape=((stop - start) * size,))
        return torch.from_numpy(rows).view(like.dtype).view(stop - start, *like.shape[1:]).to(like.device)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.bin"


def _place(folder: Path, key: str) -> Path:
    return folder / f"encoded-{key[:16]}"


def _row_bytes(tensor: Tensor) -> int:
    return tensor[:1].numel() * tensor.element_size()
