"""Reading a file of weights: tensors by name, out of whatever wraps them; any other file is named for what it is."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError

WRAPPINGS = ("state_dict", "model", "net")
"""Under one of these, checkpoints keep the network's state beside other things."""

_SIGNS = (
    (b"version https://git-lfs", "a Git LFS pointer in place of the file itself, which `git lfs pull` fetches"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, not one of torch.save"),
    (b"\x1f\x8b", "a compressed file, not one of torch.save; unpack it first"),
)
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_SAVE_ALONE = "in the program that wrote it, save the tensors alone: torch.save(model.state_dict(), ...)"


@dataclass(frozen=True)
class WeightFile:
    """Where weights come from, the SHA-256 of the file in hexadecimal, and its bytes."""

    path: Path
    sha256: str
    content: bytes


def read_file(path: Path) -> WeightFile:
    """The bytes of a file of weights, read once so that what is checked is what is loaded. Raises UserError."""
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise UserError(f"cannot read weights from {path}: {fault.strerror}") from fault
    return WeightFile(path, hashlib.sha256(content).hexdigest(), content)


def read_state(file: WeightFile) -> dict[str, Tensor]:
    """The tensors of a file of torch.save by name, without running any code of it, out of a checkpoint's wrapping.

    Raises UserError that says in one sentence what the file is instead.
    """
    return tensors_by_name(unwrapped(read_content(file), file.path), file.path)


def read_content(file: WeightFile) -> Any:
    """What torch.save wrote, without running any code of it. Raises UserError as `read_state`."""
    what = not_weights(file.content)
    if what is not None:
        raise UserError(f"cannot take weights from {file.path}: it is {what}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=True)
    except Exception as fault:  # torch.load raises whatever a foreign file leads it to
        raise UserError(f"cannot take weights from {file.path}: it is {_unread(file.content, fault)}") from None


def not_weights(content: bytes) -> str | None:
    """What a file is whose first bytes show that torch.save did not write it, else None."""
    if not content:
        return "empty"
    start = content[:512].lstrip()
    if start.lower().startswith(_WEB_PAGE):
        return "a web page, not weights; fetch the file that the page is about"
    for sign, what in _SIGNS:
        if content.startswith(sign):
            return what
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content):
        return "a safetensors file; save its tensors with torch.save(safetensors.torch.load_file(...), ...)"
    if content.startswith((_ZIP, _PICKLE)):
        return None
    return "a text file, not weights" if _is_text(content[:512]) else "no file that torch.save wrote"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError as fault:
        if fault.start < len(start) - 3:
            return False
        text = start[: fault.start].decode()
    return all(letter.isprintable() or letter.isspace() for letter in text)


def _unread(content: bytes, fault: Exception) -> str:
    """Why torch.load refused a zip archive or a pickle."""
    if isinstance(fault, MemoryError):
        return "larger than the memory at hand"
    if "TorchScript" in str(fault):
        return f"a TorchScript program; {_SAVE_ALONE}"
    if isinstance(fault, pickle.UnpicklingError):
        try:
            objects = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content))
        except Exception:  # older forms than the zip archive cannot be asked
            objects = []
        named = f" ({', '.join(sorted(objects)[:3])})" if objects else ""
        return f"a pickle of more than tensors{named}, which is not read since that could run any code; {_SAVE_ALONE}"
    return "damaged, cut short, or an archive of something else than weights"


def unwrapped(loaded: Any, path: Path) -> Mapping[Any, Any]:
    """The state among what a checkpoint holds, where there is no doubt which part it is."""
    while isinstance(loaded, Mapping):
        if any(isinstance(value, Tensor) for value in loaded.values()):
            return loaded
        found = [key for key in WRAPPINGS if isinstance(loaded.get(key), Mapping)]
        if len(found) != 1:
            held = ", ".join(map(str, list(loaded)[:5])) or "nothing"
            several = f", of which {' and '.join(found)} could each be the network" if found else ""
            raise UserError(
                f"cannot take weights from {path}: it holds {held} instead of tensors by name{several}; {_SAVE_ALONE}"
            )
        loaded = loaded[found[0]]
    raise UserError(f"cannot take weights from {path}: it holds one {type(loaded).__name__} instead of tensors by name")


def tensors_by_name(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """A state that holds ordinary tensors alone. Raises UserError for any other entry."""
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise UserError(
                f"cannot take weights from {path}: beside tensors it holds {key!r}, "
                f"a {type(value).__name__}; {_SAVE_ALONE}"
            )
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            raise UserError(
                f"cannot take weights from {path}: {key} is sparse, quantised or without data; save a "
                "network of ordinary tensors"
            )
    return dict(state)
