"""Representations that memory does not hold, in memory-mapped files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from bench.errors import CellFailed
from variants._base import Repr


class SpilledRepr:
    """Representations of `count` images in a temporary folder, which goes when this is closed."""

    def __init__(self, folder: Path | None, count: int, like: Repr) -> None:
        """`like` shows names, shapes and types. Raises CellFailed with the system's reason if there is no room."""
        try:
            self._folder = tempfile.TemporaryDirectory(dir=folder, prefix="spill-")
            self._files = {
                name: open_memmap(
                    Path(self._folder.name) / f"{name}.npy",
                    mode="w+",
                    dtype=tensor.cpu().numpy().dtype,
                    shape=(count, *tensor.shape[1:]),
                )
                for name, tensor in like.items()
            }
        except OSError as fault:
            raise CellFailed(f"cannot keep representations in {folder}: {fault.strerror}") from fault
        self._device = next(tensor for _, tensor in like.items()).device

    def write(self, start: int, part: Repr) -> None:
        """Store the images start, start + 1, ..."""
        for name, tensor in part.items():
            self._files[name][start : start + len(tensor)] = tensor.cpu().numpy()

    def read(self, start: int, stop: int) -> Repr:
        """The images start to stop, on the device from which they came."""
        parts = {name: torch.from_numpy(np.array(file[start:stop])) for name, file in self._files.items()}
        return Repr(**parts).to(self._device)

    def close(self) -> None:
        """Delete the files."""
        self._files.clear()
        self._folder.cleanup()
