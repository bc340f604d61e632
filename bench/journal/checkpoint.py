"""Checkpoints: written whole or not at all, read without running code.

The one before is kept beside the newest, so that a newest one that was damaged on disk costs some minutes, not a run.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from bench.errors import CellFailed
from bench.journal.record import sync_folder, write_temporary


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the newest lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: dict[str, Any], keep_previous: bool = True) -> None:
    """Put a new checkpoint in place in one step. Raises CellFailed with the system's reason if it cannot be written."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        temporary = write_temporary(path, buffer.getbuffer())
        try:
            if keep_previous and path.exists():
                path.replace(previous_of(path))
            temporary.replace(path)
            if not keep_previous:
                previous_of(path).unlink(missing_ok=True)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as fault:
        raise CellFailed(f"cannot save the checkpoint {path}: {fault.strerror}") from fault


def load_checkpoint(path: Path, device: torch.device | str) -> dict[str, Any] | None:
    """The state saved last, or if that is damaged the one before, with a warning; None if nothing was saved.

    Raises CellFailed where all that is there is damaged.
    """
    faults = []
    for candidate in (path, previous_of(path)):
        if not candidate.exists():
            continue
        try:
            state = _read(candidate, device)
        except Exception as fault:  # torch.load raises whatever a foreign file leads it to
            faults.append(f"{candidate} cannot be read ({fault})")
            continue
        if faults:
            warnings.warn(f"{faults[0]}; the run goes on from the checkpoint before it", stacklevel=2)
        return state
    if faults:
        raise CellFailed(f"the checkpoint {'; '.join(faults)}; delete it to start this run anew")
    return None


def _read(path: Path, device: torch.device | str) -> dict[str, Any]:
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as archive:
        # torch does not look at the archive's check sums, and would take flipped bits for weights.
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} is damaged")
    content.seek(0)
    return torch.load(content, map_location=device, weights_only=True)
