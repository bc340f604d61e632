"""Devices of this machine, by the names that people give them, and whether they can be used.

The command's own process never computes on a GPU for that: what it held there would be lacking in the runs' processes,
and a card in exclusive mode would take none of them. It counts, and a process that ends at once tries the rest.
"""

from __future__ import annotations

import functools
import logging
import os
import warnings
from pathlib import Path

import torch

from bench.cards import Card, read_card
from bench.computing import compute_as_runs_do, why_unusable
from bench.errors import UserError
from bench.journal.provenance import check_kernel
from bench.system.processes import Died, call_apart, forking

KINDS = ("cpu", "cuda", "mps")
"""Kinds of devices that run cells."""
HIDING = ("", "-1", "NoDevFiles", "none", "void")
"""Values of CUDA_VISIBLE_DEVICES by which people and schedulers hide all GPUs on purpose."""
_LOG = logging.getLogger(__name__)


def devices_at_hand(name: str) -> tuple[str, ...]:
    """The devices over which runs are spread: all GPUs of this machine for "auto" and "cuda", else the one named.

    Raises UserError as `resolve_device` does.
    """
    device = resolve_device(name)
    if device == "cuda" and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return (device,)


def resolve_device(name: str) -> str:
    """ "auto" as a device of this machine. Raises UserError for devices that are not there or run no cells."""
    if name == "auto":
        return _auto()
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError, OverflowError) as fault:
        raise UserError(f"--device {name!r} names no device: say auto, cpu, cuda, cuda:N or mps") from fault
    if device.type not in KINDS:
        raise UserError(f"--device {name}: runs are made on auto, cpu, cuda, cuda:N or mps alone")
    if device.type == "cpu" and device.index:
        raise UserError(f"--device {name}: all CPUs are one device; say cpu, and --set threads=N for how many of them")
    if reason := _missing(device):
        raise UserError(f"--device {name}: not usable here ({reason}); try --device cpu")
    return "cpu" if device.type == "cpu" else str(device)


@functools.cache
def card_of(device: str) -> Card:
    """The GPU behind a name, tried in a process of its own. Raises UserError where it cannot be used."""
    try:
        return call_apart(forking("bench.running.cell"), _try, device)
    except Died as fault:
        raise UserError(f"--device {device}: a process that tries it {fault}; try another, or --device cpu") from fault
    except UserError as fault:
        raise UserError(f"{fault}; try another --device, or --device cpu") from fault


def _try(device: str) -> Card:
    place = torch.device(device)
    compute_as_runs_do(place)
    # The first launch of the matching operator; where only plain PyTorch can be had, that says so itself.
    check_kernel(place)
    return read_card(place)


def _auto() -> str:
    """A GPU if this process is shown one that its driver can serve, else the CPU."""
    reason = _missing(torch.device("cuda"))
    if not reason:
        return "cuda"
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if _gpus_there() and shown not in HIDING:
        if shown is not None and torch.cuda.device_count() == 0:
            raise UserError(f"--device auto: {reason}; say --device cpu to do without a GPU")
        _LOG.warning("a GPU is there and cannot be used, so the CPU is taken: %s", reason)
    return "cpu"


def _missing(device: torch.device) -> str:
    """Why a device is not there, as far as that can be told without using it; "" if it seems to be."""
    if device.type == "mps":
        return "" if torch.backends.mps.is_available() else "this machine, or this build of PyTorch, has no MPS"
    if device.type != "cuda":
        return ""
    if not torch.backends.cuda.is_built():
        return why_unusable("not compiled with CUDA")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        count = torch.cuda.device_count()
        usable = count > 0 and torch.cuda.is_available()
    if not count:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        if shown is None:
            return "no GPU is found"
        return f"CUDA_VISIBLE_DEVICES={shown!r} shows none of this machine's GPUs; name them as 0 or 0,1, or unset it"
    if not usable:
        return why_unusable(str(told[0].message) if told else "no CUDA GPUs are available")
    if device.index is not None and device.index >= count:
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        return f"there is {there}"
    return ""


def _gpus_there(root: Path = Path("/")) -> bool:
    """Whether this machine has NVIDIA GPUs with a driver, shown to this process or not."""
    try:
        return any((root / "proc/driver/nvidia/gpus").iterdir())
    except OSError:
        return False
