"""What training noted of each epoch, read back from a run's log."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from bench.config import Settings
from bench.journal.reading import Unreadable
from bench.journal.record import LOG

ADVICE = "move the file away; nothing but the picture of how the run learned is lost"


class Epoch(Settings):
    """One line of a log: means over an epoch's steps. `hit` is a share of 1, `learning_rate` that of each group."""

    epoch: int = Field(ge=1)
    loss: float
    hit: float = Field(ge=0, le=1)
    skipped: int = 0
    learning_rate: list[float] = []
    seconds: dict[str, float] = {}


def read_epochs(folder: Path) -> tuple[Epoch, ...]:
    """The epochs that a cell's folder tells of, none if it has no log. Raises Unreadable for what is no log."""
    path = folder / LOG
    try:
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as fault:
        raise Unreadable(path, f"cannot be read ({fault.strerror or fault})", ADVICE) from fault
    try:
        return tuple(Epoch.model_validate_json(line) for line in lines if line.strip())
    except ValidationError as fault:
        raise Unreadable(path, "is not the log of a training of this version of the suite", ADVICE) from fault
