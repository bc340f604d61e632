"""Devices of this machine, by the names that people give them."""

from __future__ import annotations

import torch

from bench.errors import UserError

KINDS = ("cpu", "cuda", "mps")
"""Kinds of devices that run cells."""


def devices_at_hand(name: str) -> tuple[str, ...]:
    """The devices over which runs are spread: all GPUs of this machine for "auto" and "cuda", else the one named.

    Raises UserError as `resolve_device` does.
    """
    if name in ("auto", "cuda") and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return (resolve_device(name),)


def resolve_device(name: str) -> str:
    """ "auto" as a device of this machine. Raises UserError for devices that are not there or run no cells."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError, OverflowError) as fault:
        raise UserError(f"--device {name!r} names no device: say auto, cpu, cuda, cuda:N or mps") from fault
    if device.type not in KINDS:
        raise UserError(f"--device {name}: runs are made on auto, cpu, cuda, cuda:N or mps alone")
    if device.type == "cpu" and device.index:
        raise UserError(f"--device {name}: all CPUs are one device; say cpu, and --set threads=N for how many of them")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as fault:
        reason = (str(fault) or type(fault).__name__).splitlines()[0]
        raise UserError(f"--device {name}: not usable here ({reason}); try --device cpu") from fault
    return "cpu" if device.type == "cpu" else str(device)
