"""Read every image of a set, byte by byte and decoded: slow, and the only way to find a damaged one."""

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm


@dataclass(frozen=True)
class DeepResult:
    """`digests`: path -> SHA-256 of the image's bytes; `unreadable`: path -> why it cannot be decoded."""

    digests: dict[str, str]
    unreadable: dict[str, str]


def read_images(root: Path, paths: Iterable[str], workers: int, progress: bool = False) -> DeepResult:
    """Hash and decode the images `paths` (relative to `root`) in `workers` >= 1 threads. Raises nothing for faults."""
    names = sorted(paths)
    with ThreadPoolExecutor(workers) as pool:
        # Threads suffice: reading, hashing and decoding release Python's lock.
        results = pool.map(_read_image, (root / name for name in names))
        read = dict(zip(names, tqdm(results, total=len(names), unit="image", disable=not progress), strict=True))
    return DeepResult(
        {name: digest for name, (digest, _) in read.items()},
        {name: fault for name, (_, fault) in read.items() if fault},
    )


def _read_image(path: Path) -> tuple[str, str]:
    from PIL import Image

    try:
        content = path.read_bytes()
    except OSError as error:
        return "", str(error.strerror)
    digest = hashlib.sha256(content).hexdigest()
    try:
        # `verify` looks at checksums, `load` at whether all pixels are there; `verify` leaves the image unusable.
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception as error:  # Pillow's decoders raise many kinds on damaged bytes
        # Pillow's own words name the buffer in memory, which tells nothing.
        return digest, str(error).partition(" <_io")[0] or type(error).__name__
    return digest, ""
