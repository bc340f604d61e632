"""Checkpoints: written whole or not at all, read without running code, and only by the run whose they are.

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

FORMAT = 1
"""Raised whenever what a checkpoint holds changes so that it cannot be taken up by other code."""


class _Unreadable(Exception):
    """What is wrong with a file."""


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the newest lies."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: dict[str, Any], keep_previous: bool = True) -> None:
    """Put a new checkpoint in place in one step; it bears the name of its folder, which is that of its run.

    Raises CellFailed with the system's reason if it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({**state, "format": FORMAT, "cell": _cell_of(path)}, buffer)
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

    A checkpoint from before checkpoints bore names has no "cell": whoever takes it up needs another proof of whose it
    is. Raises CellFailed where all that is there is damaged, and for a checkpoint of another run or of a newer version.
    """
    faults = []
    for candidate in (path, previous_of(path)):
        try:
            state = _read(candidate, device)
        except FileNotFoundError:
            continue
        except (_Unreadable, OSError) as fault:
            faults.append(f"{candidate} cannot be read ({getattr(fault, 'strerror', None) or fault})")
            continue
        if state.get("format", FORMAT) != FORMAT:
            raise CellFailed(f"{candidate} is the checkpoint of another version of bench; go on with that version")
        if state.get("cell", _cell_of(path)) != _cell_of(path):
            raise CellFailed(
                f"{candidate} is the checkpoint of {state['cell']}; put this run's own back, or move the folder away"
            )
        if faults:
            warnings.warn(f"{faults[0]}; the run goes on from the checkpoint before it", stacklevel=2)
        return state
    if faults:
        raise CellFailed(f"the checkpoint {'; '.join(faults)}; delete it to start this run anew")
    return None


def _cell_of(path: Path) -> str:
    return path.absolute().parent.name


def _read(path: Path, device: torch.device | str) -> dict[str, Any]:
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            # torch does not look at the archive's check sums, and would take flipped bits for weights.
            damaged = archive.testzip()
    except Exception as fault:  # zipfile raises whatever a foreign file leads it to
        raise _Unreadable("it is no checkpoint, or was cut short") from fault
    if damaged is not None:
        raise _Unreadable("it is damaged")
    content.seek(0)
    try:
        state = torch.load(content, map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as fault:  # so does torch; its texts advise to load the file unsafely
        raise _Unreadable("it holds other things than a checkpoint does") from fault
    if not isinstance(state, dict) or not ({"format", "cell"} <= state.keys() or _is_network(state.get("model"))):
        raise _Unreadable("it is no checkpoint of a run")
    return state


def _is_network(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(value, torch.Tensor) for value in found.values())
