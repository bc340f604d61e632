"""Read every image of a set, byte by byte and decoded: slow, and the only way to find a damaged one."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from bench.data.images import remarks, to_rgb


@dataclass(frozen=True)
class DeepResult:
    """What is in the images of a set, by their relative paths.

    `digests`: path -> SHA-256 of the image's bytes; `unreadable`: path -> why a run could not decode it;
    `remarks`: what is worth knowing of images that can be decoded -> their paths.
    """

    digests: dict[str, str]
    unreadable: dict[str, str]
    remarks: dict[str, list[str]]


class _Look(NamedTuple):
    digest: str
    fault: str = ""
    remarks: tuple[str, ...] = ()


def read_images(root: Path, paths: Iterable[str], workers: int, progress: bool = False) -> DeepResult:
    """Hash and decode the images `paths` (relative to `root`) in `workers` >= 1 threads. Raises nothing for faults."""
    names = sorted(paths)
    with ThreadPoolExecutor(workers) as pool:
        # Threads suffice: reading, hashing and decoding release Python's lock.
        looks = pool.map(_look_at, (root / name for name in names))
        read = dict(zip(names, tqdm(looks, total=len(names), unit="image", disable=not progress), strict=True))
    said: dict[str, list[str]] = {}
    for name, look in read.items():
        for remark in look.remarks:
            said.setdefault(remark, []).append(name)
    return DeepResult(
        {name: look.digest for name, look in read.items()},
        {name: look.fault for name, look in read.items() if look.fault},
        said,
    )


def _look_at(path: Path) -> _Look:
    try:
        content = path.read_bytes()
    except OSError as error:
        return _Look("", str(error.strerror))
    digest = hashlib.sha256(content).hexdigest()
    try:
        to_rgb(content)
    except ValueError as fault:
        return _Look(digest, str(fault))
    return _Look(digest, "", tuple(remarks(content)))
