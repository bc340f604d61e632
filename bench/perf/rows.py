"""A row of a study that is measured at its own sizes, and made-up pictures of the size that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.config import CellConfig, Input
from bench.network.matcher import Matcher


@dataclass(frozen=True)
class StudyRow:
    """A row of a study as its cell is planned, with `auto` resolved for the device that it is measured on.

    `head` is what `variants.build` takes, `overrides` what `--set` changed.
    """

    study: str
    preset: str
    row: str
    head: str
    config: CellConfig
    threads: int
    """Of the CPU: those that a run would have."""
    overrides: str = ""

    @property
    def names(self) -> dict[str, str | int]:
        """What tells the row from others in a record."""
        return {
            "study": self.study,
            "preset": self.preset,
            "overrides": self.overrides,
            "row": self.row,
            "precision": self.config.training.precision,
            "scoring": self.config.evaluation.scoring,
            "threads": self.threads,
        }

    def model(self, device: torch.device) -> Matcher:
        """The row's network. No file of weights is read: any weights take as long."""
        return Matcher(self.config, self.head, None).to(device)


def made_up_images(folder: Path, size: Input, count: int) -> np.memmap:
    """[count, 3, H, W] uint8: random pixels, in a mapped file as decoded images are."""
    draws = np.random.default_rng(0)
    shape = count, 3, size.height, size.width
    images = np.memmap(folder / "images.bin", np.uint8, "w+", shape=shape)
    for image in images:
        image[:] = draws.integers(0, 256, shape[1:], dtype=np.uint8)
    images.flush()
    return np.memmap(folder / "images.bin", np.uint8, "r", shape=shape)


def persons_of(images: int, of_each: int) -> NDArray[np.int64]:
    """[images]: persons of as many images each."""
    return np.arange(images) // of_each


def described(units: Sequence[int]) -> str:
    """ "64 x 512" of the sizes of what is matched."""
    return " x ".join(f"{number:,}" for number in units)
