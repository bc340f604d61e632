"""One run among those of a results folder, by what people call it."""

from __future__ import annotations

from pathlib import Path

from bench.config import nearest
from bench.errors import UserError
from bench.journal.record import RECORD, STARTED, cell_folders
from bench.system.paths import expand


def find_run(results: Path, word: str | Path) -> Path:
    """The folder of a run: one that is there, or the one below `results` whose name is or begins with the word.

    Raises UserError as `find_cell` does, and for an empty word.
    """
    path = expand(word)
    if any((path / name).exists() for name in (RECORD, STARTED)):
        return path
    return find_cell(results, str(word))


def find_cell(results: Path, name: str) -> Path:
    """The folder of the one run whose id begins with `name`. Raises UserError where there is none, or are several."""
    folders = cell_folders(results)
    found = [path for path in folders if path.name == name] or [path for path in folders if path.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if not found:
        names = [path.name for path in folders]
        raise UserError(f"no run {name!r} in {results / 'runs'}{nearest(name, names)}; there are {len(names)}")
    listed = ", ".join(path.name for path in found[:5])
    raise UserError(
        f"{len(found)} runs begin with {name!r}: {listed}{', ...' if len(found) > 5 else ''}; say more of it"
    )
