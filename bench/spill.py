"""Representations that memory does not hold, in memory-mapped files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import CellFailed
from variants._base import Repr

_PREFIX = "spill-"


class SpilledRepr:
    """Representations of `count` images in a temporary folder, which goes when this is closed.

    Each access maps its own images alone, so that no more of a file is ever counted as this process's memory.
    """

    def __init__(self, folder: Path | None, count: int, like: Repr) -> None:
        """`like` shows names, shapes and types. Raises CellFailed with the system's reason if there is no room.

        `folder` is this process's own: what a killed predecessor left in it is deleted.
        """
        self._like = dict(like.items())
        try:
            for left in folder.glob(f"{_PREFIX}*") if folder is not None else ():
                shutil.rmtree(left)
            self._folder = tempfile.TemporaryDirectory(dir=folder, prefix=_PREFIX)
            for name, tensor in self._like.items():
                with self._file(name).open("wb") as file:
                    file.truncate(count * _row_bytes(tensor))
        except OSError as fault:
            raise CellFailed(f"cannot keep representations in {folder}: {fault.strerror}") from fault

    def write(self, start: int, part: Repr) -> None:
        """Store the images start, start + 1, ... Raises CellFailed if the disk is full."""
        try:
            for name, tensor in part.items():
                with self._file(name).open("r+b") as file:
                    file.seek(start * _row_bytes(tensor))
                    file.write(tensor.cpu().contiguous().view(torch.uint8).numpy())
        except OSError as fault:
            raise CellFailed(f"cannot keep representations in {self._folder.name}: {fault.strerror}") from fault

    def read(self, start: int, stop: int) -> Repr:
        """The images start to stop, on the device from which they came."""
        return Repr(**{name: self._map(name, tensor, start, stop) for name, tensor in self._like.items()})

    def close(self) -> None:
        """Delete the files."""
        self._folder.cleanup()

    def _map(self, name: str, like: Tensor, start: int, stop: int) -> Tensor:
        size = _row_bytes(like)
        # Mode "c": torch takes only arrays that could be written to; what is written stays in memory.
        rows = np.memmap(self._file(name), np.uint8, "c", offset=start * size, shape=((stop - start) * size,))
        return torch.from_numpy(rows).view(like.dtype).view(stop - start, *like.shape[1:]).to(like.device)

    def _file(self, name: str) -> Path:
        return Path(self._folder.name) / name


def _row_bytes(tensor: Tensor) -> int:
    return tensor[:1].numel() * tensor.element_size()
