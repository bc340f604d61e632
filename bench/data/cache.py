"""Images of a data set, decoded and resized once, kept as uint8 in a memory-mapped file.

The file's name holds the data fingerprint and the size, so other data or sizes never meet an old file; it appears
only when complete, and is checked each time it is opened.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path

import numpy as np

from bench.data.dataset import Dataset, ImageRecord
from bench.data.decoded import NO_FILE, DecodedFile, Note, digest_of, in_threads
from bench.data.images import decode_bytes, read_bytes
from bench.data.tensors import Images, JoinedImages
from bench.data.turns import Tell, remove_leftovers, temporary, turn
from bench.errors import UserError
from bench.progress import Progress, amount
from bench.system.locks import NoLocks

NO_RESERVATION = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def split_records(dataset: Dataset, split: str) -> tuple[ImageRecord, ...]:
    """The images of "train", or of "test": the queries, then those of the gallery that are no queries."""
    return dataset.train if split == "train" else dataset.test_images


def load_images(
    dataset: Dataset, split: str, height: int, width: int, cache: Path, workers: int, progress: Progress
) -> Images:
    """[n, 3, height, width] RGB of `split_records`, memory-mapped; decoded first if the cache lacks it or is wrong.

    Sets that are joined keep files of their own. Of several processes one decodes. Raises UserError naming the first
    image that cannot be read, or the cache folder if it cannot be written, has no room or no locks.
    """
    if dataset.parts:
        return JoinedImages(
            tuple(load_images(part, split, height, width, cache, workers, progress) for part in dataset.parts)
        )
    name = f"{dataset.name}-{split}-{dataset.fingerprint[:16]}-{height}x{width}.npy"
    file = DecodedFile(cache / name, split_records(dataset, split), height, width)
    what = f"{dataset.name} {split}"
    remove_leftovers(cache, progress)
    try:
        if not file.doubt():
            return file.open()
    except OSError:
        pass  # another process takes it away at this moment, to make it anew
    try:
        try:
            return _in_turn(file, what, workers, progress)
        except FileNotFoundError:
            # This process slept for long: its turn, and what it had half-made, went to another.
            return _in_turn(file, what, workers, progress)
    except OSError as fault:
        if fault.errno in NO_RIGHT and not file.fault(what, workers, progress):
            return file.open()
        raise _unwritable(file, what, fault) from fault


def _in_turn(file: DecodedFile, what: str, workers: int, progress: Progress) -> np.memmap:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    with turn(file.path, what, len(file.records), progress) as tell:
        if fault := file.fault(what, workers, progress):
            if fault != NO_FILE:
                progress.say(f"decoded images of {what}: {file.path} {fault}; they are decoded anew")
            _decode_all(file, workers, what, tell, progress)
        return file.open()


def _decode_all(file: DecodedFile, workers: int, what: str, tell: Tell, progress: Progress) -> None:
    file.remove()  # what is wrong must not take the room
    draft = temporary(file.path, secrets.token_hex(4))
    try:
        # Not from tempfile, whose files nobody else may read.
        with draft.open("xb") as out:
            _reserve(out.fileno(), file.size, draft.parent)
            _write_at(out.fileno(), file.header, 0)
            stamps = file.stamps()
            digests = _fill(out.fileno(), file, workers, what, tell, progress)
            os.fsync(out.fileno())
            # Whole seconds: some file systems keep no smaller parts, but show them until they forget.
            second = time.time_ns() // 10**9 * 10**9
            os.utime(out.fileno(), ns=(second, second))
            modified = os.fstat(out.fileno()).st_mtime_ns
        draft.stat()  # if it was taken away, the note beside the file is not ours to write
        sources, pixels = (digest_of(column) for column in zip(*digests, strict=True))
        file.write_note(Note(modified=modified, stamps=stamps, sources=sources, pixels=pixels))
        draft.replace(file.path)
    finally:
        draft.unlink(missing_ok=True)


def _fill(
    handle: int, file: DecodedFile, workers: int, what: str, tell: Tell, progress: Progress
) -> list[tuple[bytes, bytes]]:
    """Decode each image to its place; returns the digests of its file's bytes and of its pixels.

    Written, not mapped: on a disk that turns out to be full a map ends the process without a word.
    """
    start = len(file.header)

    def fill(position: int) -> tuple[bytes, bytes]:
        record = file.records[position]
        content = read_bytes(record.path)
        pixels = decode_bytes(content, record.path, file.height, file.width, record.box).tobytes()
        _write_at(handle, pixels, start + position * file.image_bytes)
        return hashlib.sha256(content).digest(), hashlib.sha256(pixels).digest()

    # Threads: Pillow lets go of the interpreter lock while it decodes and resizes.
    return in_threads(fill, len(file.records), workers, f"decode {what}", progress, tell)


def _write_at(handle: int, content: bytes, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(handle, left, offset)
        left, offset = left[written:], offset + written


def _reserve(handle: int, size: int, folder: Path) -> None:
    """Take the room that a file needs before any work is done for it. Raises OSError if it is not there."""
    usage = shutil.disk_usage(folder)
    if usage.total and usage.free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as fault:
            if fault.errno not in NO_RESERVATION:
                raise


def _unwritable(file: DecodedFile, what: str, fault: OSError) -> UserError:
    cache = file.path.parent
    if fault.errno in NO_ROOM:
        free = shutil.disk_usage(cache).free
        return UserError(
            f"no room for the decoded images of {what} in {cache}: they take {amount(file.size)},"
            f" {amount(free)} are free ({fault.strerror}); make room, or use --results elsewhere"
        )
    if isinstance(fault, NoLocks):
        return UserError(
            f"{cache} is on a file system without file locks ({fault.strerror}), which keep two processes from decoding"
            " the same images at once; use --results elsewhere"
        )
    return UserError(f"cannot write the image cache {cache}: {fault.strerror}; use --results elsewhere")
