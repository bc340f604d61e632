"""Images a second: the suite's data path beside decoding and changing each image by itself with Pillow."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pillow

from bench.config import Augmentation
from bench.data import ImageRecord
from bench.data.cache import load_images
from bench.data.dataset import Dataset
from bench.data.tensors import pick
from bench.perf.measure import seconds_of
from bench.progress import QUIET
from bench.training.augment import Change, augment, draw_change

CPU = torch.device("cpu")

MARKET_SIZE = (128, 64)
"""Height and width in pixels of Market-1501's files."""

INPUT_SIZE = (384, 128)
"""Height and width that the network takes."""


@dataclass(frozen=True)
class DataPathSpeed:
    """Seconds of `images` images, by repeat, on one core each; the two ways were timed in turn."""

    name: str
    images: int
    suite_seconds: tuple[float, ...]
    one_by_one_seconds: tuple[float, ...]

    @property
    def suite_rate(self) -> float:
        """Images a second and core: cached, changed in whole batches."""
        return self.images / statistics.median(self.suite_seconds)

    @property
    def one_by_one_rate(self) -> float:
        """Images a second and core: decoded and changed one by one."""
        return self.images / statistics.median(self.one_by_one_seconds)

    @property
    def ratio(self) -> float:
        """How many times as many images a second the suite's way gives."""
        return self.suite_rate / self.one_by_one_rate


def measure_data_path(
    images: int = 128, batch: int = 64, repeats: int = 5, seed: int = 0, device: torch.device = CPU
) -> DataPathSpeed:
    """Both ways, batch by batch in turn, of an epoch after the first over drawn JPEG files of Market-1501's size.

    With one thread of torch while it lasts; both draw the same changes and give float32 in [0, 1] on the device.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = draw_jpegs(Path(folder), images, seed)
            cached = _cached(files, Path(folder) / "cache")
            settings = Augmentation()

            def suite(positions: NDArray[np.int64]) -> Tensor:
                some = torch.from_numpy(pick(cached, positions)).to(device)
                return augment(some, settings, seed, 1, int(positions[0]))

            def one_by_one(positions: NDArray[np.int64]) -> Tensor:
                changes = [draw_change(settings, *INPUT_SIZE, seed, 1, int(position)) for position in positions]
                paths = [files[position] for position in positions]
                changed = [
                    change_with_pillow(path, change, settings) for path, change in zip(paths, changes, strict=True)
                ]
                return torch.stack(changed).to(device)

            order = np.random.default_rng(seed).permutation(images)
            parts = [order[start : start + batch] for start in range(0, images, batch)]
            suite(parts[0]), one_by_one(parts[0])
            seconds = [(_seconds(suite, parts, device), _seconds(one_by_one, parts, device)) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    ours, theirs = zip(*seconds, strict=True)
    return DataPathSpeed("data path", images, ours, theirs)


def change_with_pillow(path: Path, change: Change, settings: Augmentation) -> Tensor:
    """One image decoded, resized and changed by Pillow, as [3, 384, 128] in [0, 1]."""
    height, width = INPUT_SIZE
    with Image.open(path) as file:
        image = file.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    image = pillow.crop(pillow.pad(image, settings.pad), change.top, change.left, height, width)
    if change.flip:
        image = pillow.hflip(image)
    image = pillow.rotate(image, change.angle, InterpolationMode.NEAREST)
    jitters = (
        (pillow.adjust_brightness, change.brightness),
        (pillow.adjust_contrast, change.contrast),
        (pillow.adjust_saturation, change.saturation),
        (pillow.adjust_hue, change.hue),
    )
    for number in change.jitter_order:
        jitter, amount = jitters[number]
        image = jitter(image, amount)
    tensor = pillow.to_tensor(image)
    bottom, right = change.square_top + change.square, change.square_left + change.square
    tensor[:, change.square_top : bottom, change.square_left : right] = 1.0
    return tensor


def draw_jpegs(folder: Path, count: int, seed: int) -> list[Path]:
    """JPEG files of Market-1501's size: smooth random colours with some noise."""
    draws = np.random.default_rng(seed)
    height, width = MARKET_SIZE
    paths = []
    for number in range(count):
        coarse = Image.fromarray(draws.integers(0, 256, (8, 4, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
        noisy = (smooth + draws.normal(0, 10, smooth.shape)).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number:06}.jpg")
        Image.fromarray(noisy).save(paths[-1], quality=90)
    return paths


def _cached(files: list[Path], cache: Path) -> NDArray[np.uint8]:
    records = tuple(ImageRecord(path, 0, 0) for path in files)
    dataset = Dataset("drawn", cache, records, (), (), "0" * 64)
    return load_images(dataset, "train", *INPUT_SIZE, cache, 1, QUIET)


def _seconds(run: Callable[[NDArray[np.int64]], Tensor], parts: list[NDArray[np.int64]], device: torch.device) -> float:
    return seconds_of(lambda: [run(part) for part in parts], device)
