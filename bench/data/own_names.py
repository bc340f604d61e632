"""Sets of one's own by name: a CSV file, or a word for one in `sets.yaml`, becomes a name that no other set has.

Such a name is the file's stem, or the word, with the first letters of the SHA-256 of the file's bytes: "shop@1a2b3c".
It stands in records, tables and file names, wherever the file lies; a file that was edited is another set.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.config import nearest
from bench.data.registry import ALL, JOIN, NAMES
from bench.errors import UserError
from bench.system.paths import expand
from bench.values import read_yaml

LIST = "sets.yaml"
"""Words for CSV files, below the data directory; paths are relative to it."""
SUFFIX = ".csv"
LETTERS = 6
LONGEST = 40
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NAME = re.compile(rf"{_WORD.pattern}@[0-9a-f]{{{LETTERS}}}")


def is_own(name: str) -> bool:
    """Whether a name is that of a set of one's own."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class OwnSets:
    """The sets of one's own that a command speaks of. `paths` has the files of those named so far."""

    data_dir: Path
    paths: dict[str, Path] = field(default_factory=dict)

    def source(self, word: str) -> str:
        """A source as planning takes it: its parts that are CSV files or words of `sets.yaml` by their names.

        Raises UserError for a file that cannot be read, and for an unknown word.
        """
        parts = [word] if word.endswith(SUFFIX) and expand(word).is_file() else word.split(JOIN)
        return JOIN.join(self.name(part.strip()) for part in parts)

    def sources(self, words: Iterable[str] | None) -> list[str] | None:
        """`source` of each; None stays None."""
        return None if words is None else [self.source(word) for word in words]

    def name(self, word: str) -> str:
        """A set's name; those of known sets stay as they are. Raises UserError as `source`."""
        if word.endswith(SUFFIX):
            path = expand(word)
            stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-.")[:LONGEST] or "set"
            return self._remember(stem, path)
        if word in self._listed:
            return self._remember(word, self._listed[word])
        if self._listed and word.removesuffix(ALL) not in NAMES and "@" not in word:
            known = [*NAMES, *self._listed]
            raise UserError(f"There is no data set {word!r}{nearest(word, known)}: the names are {', '.join(known)}")
        return word

    def knows(self, word: str) -> bool:
        """Whether a word is a CSV file's, or one of `sets.yaml`."""
        return word.endswith(SUFFIX) or word in self._listed

    def file(self, word: str) -> Path:
        """The file of a word of `sets.yaml`."""
        return self._listed[word]

    @property
    def listed(self) -> list[str]:
        """The words of `sets.yaml`. Raises UserError where it cannot be read."""
        return [*self._listed]

    def _remember(self, stem: str, path: Path) -> str:
        name = f"{stem}@{digest_of(path)[:LETTERS]}"
        other = self.paths.setdefault(name, path)
        if other.absolute() != path.absolute():
            raise UserError(
                f"{other} and {path} have the same name and content, so that tables could not tell them apart: give one"
                " of them another name"
            )
        return name

    @cached_property
    def _listed(self) -> dict[str, Path]:
        path = self.data_dir / LIST
        try:
            content = read_yaml(path.read_text(encoding="utf-8"), str(path))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeError) as fault:
            raise UserError(f"{path} cannot be read ({getattr(fault, 'strerror', None) or fault})") from fault
        if not isinstance(content, dict) or not all(isinstance(item, str) for pair in content.items() for item in pair):
            raise UserError(f"{path} needs a line for each set, such as `shop: cameras/shop.csv`")
        for word in content:
            if not _WORD.fullmatch(word) or word in NAMES or word.endswith((ALL, SUFFIX)):
                raise UserError(
                    f"{path}: {word!r} cannot name a set: take letters, digits, _, - and ., no name that the suite has,"
                    f" and none that ends in {ALL} or {SUFFIX}"
                )
        return {word: self.data_dir / expand(place) for word, place in content.items()}


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal. Raises UserError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        raise UserError(f"the set {path} cannot be read ({fault.strerror}): give the path of a CSV file") from fault
