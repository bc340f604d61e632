"""Images of a data set, decoded and resized once, kept as uint8 in a memory-mapped file.

The file's name holds the data fingerprint and the size, so other data or sizes never meet an old file; it appears
only when complete.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from bench.data.dataset import Dataset, ImageRecord
from bench.data.images import decode
from bench.errors import UserError
from bench.progress import Progress


def split_records(dataset: Dataset, split: str) -> tuple[ImageRecord, ...]:
    """The images of "train", or of "test": the queries, then the gallery; once where both are the same images."""
    if split == "train":
        return dataset.train
    return dataset.query if dataset.one_side else dataset.query + dataset.gallery


def load_images(
    dataset: Dataset, split: str, height: int, width: int, cache: Path, workers: int, progress: Progress
) -> NDArray[np.uint8]:
    """[n, 3, height, width] RGB of `split_records`, memory-mapped; decoded first if the cache lacks it.

    Raises UserError naming the first image that cannot be read, or the cache folder if it cannot be written.
    """
    name = f"{dataset.name}-{split}-{dataset.fingerprint[:16]}-{height}x{width}.npy"
    path = cache / name
    if not path.exists():
        records = split_records(dataset, split)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=cache, prefix=f".{name}.")
            os.close(handle)
        except OSError as fault:
            raise UserError(
                f"cannot write the image cache {cache}: {fault.strerror}; use --results elsewhere"
            ) from fault
        try:
            _decode_all(records, Path(temporary), height, width, workers, f"{dataset.name} {split}", progress)
            Path(temporary).replace(path)
        except OSError as fault:
            raise UserError(f"cannot write the image cache {cache}: {fault.strerror}") from fault
        finally:
            Path(temporary).unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _decode_all(
    records: Sequence[ImageRecord],
    file: Path,
    height: int,
    width: int,
    workers: int,
    what: str,
    progress: Progress,
) -> None:
    images = open_memmap(file, mode="w+", dtype=np.uint8, shape=(len(records), 3, height, width))

    def fill(position: int) -> None:
        images[position] = decode(records[position].path, height, width)

    # Threads: Pillow lets go of the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(max(1, workers)) as pool:
        done = pool.map(fill, range(len(records)))
        with progress.bar(len(records), f"decode {what}", "image") as bar:
            for _ in done:
                bar.update()
    images.flush()
