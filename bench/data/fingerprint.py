"""The SHA-256 by which a run knows its data."""

import hashlib
import os
from collections.abc import Mapping


def fingerprint(files: Mapping[str, int], lists: Mapping[str, bytes], digests: Mapping[str, str] | None = None) -> str:
    """Hash the sorted (relative path, size in bytes) pairs of the images and the content of the list files.

    With `digests` (relative path -> hash of the image's bytes), the deep fingerprint: the same, with the bytes.
    Depends neither on where the set lies nor on the order in which the file system gives it. Returns 64 hex digits.
    """
    total = hashlib.sha256()
    for path in sorted(files):
        digest = f"\0{digests[path]}" if digests else ""
        total.update(os.fsencode(path) + f"\0{files[path]}{digest}\n".encode())
    for name in sorted(lists):
        total.update(f"list\0{name}\0{hashlib.sha256(lists[name]).hexdigest()}\n".encode())
    return total.hexdigest()
