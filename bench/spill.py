"""Representations that memory does not hold, or that an interruption must not cost, in memory-mapped files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from bench.errors import CellFailed
from bench.records import write_atomically
from variants._base import Repr

_DONE = "done"


class SpilledRepr:
    """Representations of `count` images in a folder.

    Without a key the folder is temporary and goes when this is closed. With one it stays until `delete`, and holds
    `done` images from the start on: those that an earlier process had marked.
    """

    def __init__(self, folder: Path | None, count: int, like: Repr, key: str = "") -> None:
        """`like` shows names, shapes and types. Raises CellFailed with the system's reason if there is no room."""
        self._lasting = bool(key and folder is not None)
        try:
            if self._lasting:
                self._folder = _place(folder, key)
                self._folder.mkdir(exist_ok=True)
            else:
                self._folder = Path(tempfile.mkdtemp(dir=folder, prefix="spill-"))
            self.done = self._marked()
            self._files = {name: self._open(name, count, tensor) for name, tensor in like.items()}
        except OSError as fault:
            raise CellFailed(f"cannot keep representations in {folder}: {fault.strerror}") from fault
        self._device = next(tensor for _, tensor in like.items()).device

    @staticmethod
    def exists(folder: Path, key: str) -> bool:
        """Whether an earlier process left something behind."""
        return _place(folder, key).is_dir()

    @staticmethod
    def delete(folder: Path, key: str) -> None:
        """Forget what was kept under a key."""
        shutil.rmtree(_place(folder, key), ignore_errors=True)

    def write(self, start: int, part: Repr) -> None:
        """Store the images start, start + 1, ..."""
        for name, tensor in part.items():
            self._files[name][start : start + len(tensor)] = tensor.cpu().numpy()

    def read(self, start: int, stop: int) -> Repr:
        """The images start to stop, on the device from which they came."""
        parts = {name: torch.from_numpy(np.array(file[start:stop])) for name, file in self._files.items()}
        return Repr(**parts).to(self._device)

    def mark(self, done: int) -> str:
        """Note that the first `done` images are there, once they are on disk; returns a name of that."""
        for file in self._files.values():
            file.flush()
        write_atomically(self._folder / _DONE, str(done).encode())
        self.done = done
        return f"{self._folder.name} {done} images"

    def close(self) -> None:
        """Let go of the files; delete them if they are temporary."""
        self._files.clear()
        if not self._lasting:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _marked(self) -> int:
        try:
            return int((self._folder / _DONE).read_text())
        except (OSError, ValueError):
            return 0

    def _open(self, name: str, count: int, tensor: torch.Tensor) -> np.memmap:
        path, shape, kind = self._folder / f"{name}.npy", (count, *tensor.shape[1:]), tensor.cpu().numpy().dtype
        if self.done:
            try:
                found = open_memmap(path, mode="r+")
                if found.shape == shape and found.dtype == kind:
                    return found
            except (OSError, ValueError):
                pass  # gone or damaged: encoded again
            self.done = 0
        return open_memmap(path, mode="w+", dtype=kind, shape=shape)


def _place(folder: Path, key: str) -> Path:
    return folder / f"encoded-{key[:16]}"
