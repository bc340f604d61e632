"""The folder of a submission, which may be called anything.

Submitit and SLURM put ids in the place of `%j` and the like wherever they stand in a path, and neither lets a path
escape that. So neither is told the path: the folder is the working folder of whoever submits and of the job, and both
know it as `HERE`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.errors import UserError
from bench.running.submitted import SUBMISSIONS

HERE = Path("/proc/self/cwd")
"""The working folder, under a name that has nothing in it to be replaced."""


def submission_folder(results: Path, name: str) -> Path:
    """Where a submission keeps what it needs and what its jobs say.

    Raises UserError for a results folder that a job could not name.
    """
    folder = results.absolute() / SUBMISSIONS / name
    if os.pathsep in str(folder):
        raise UserError(
            f"{results.absolute()}: jobs find their code by PYTHONPATH, where {os.pathsep!r} ends a folder's name; "
            "take a results folder without it"
        )
    try:
        os.fsencode(folder).decode()
    except UnicodeDecodeError as fault:
        told = os.fsencode(results.absolute()).decode(errors="backslashreplace")
        raise UserError(
            f"{told}: a job script is UTF-8 text and cannot name it; take another results folder"
        ) from fault
    return folder


@contextlib.contextmanager
def entered(folder: Path) -> Iterator[Path]:
    """Work in the folder, made if need be, for the block. Yields `HERE`, or the folder where there is no /proc."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        yield HERE if HERE.is_dir() else folder


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work where the command was given, as far as this machine has that folder, and return."""
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextlib.contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables for the block; None takes one away."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
