"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from bench.errors import CellFailed
from bench.records import write_atomically


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in one step. Raises CellFailed with the system's reason if it cannot be written."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        write_atomically(path, buffer.getbuffer())
    except OSError as fault:
        raise CellFailed(f"cannot save the checkpoint {path}: {fault.strerror}") from fault


def load_checkpoint(path: Path, device: torch.device | str) -> dict[str, Any] | None:
    """The state saved last, None if there is none. Raises CellFailed for a damaged file."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as fault:
        raise CellFailed(f"the checkpoint {path} cannot be read ({fault}); delete it to start this run anew") from fault
