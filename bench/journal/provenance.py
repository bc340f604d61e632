"""Where a run's numbers come from: code, libraries, machine."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import torch

import bench
from bench.cards import capability_of, driver_version, read_card
from bench.errors import UserError
from bench.journal.code import code_version
from bench.journal.record import Provenance
from variants.kernels import forced_kernel, kernel_name

Answer = TypeVar("Answer")

LIBRARIES = ("torch", "torchvision", "numpy", "pillow")
GPU_LIBRARIES = ("triton",)
"""Which change numbers or times on a GPU alone."""


def now() -> str:
    """The present time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(
    device: torch.device, started: str, jobs: int, segments: int = 1, weights_sha256: str | None = None
) -> Provenance:
    """The account of this process on this machine. What cannot be found out is "unknown": nothing is lost over it."""
    commit, dirty = _or(("unknown", None), code_version, Path(bench.__file__).parent)
    return Provenance(
        commit=commit,
        dirty=dirty,
        versions={
            "python": platform.python_version(),
            **{name: _or("", metadata.version, name) or "unknown" for name in _libraries(device)},
        },
        device=_or("unknown", device_name, device),
        cpu=_or("unknown", cpu_name),
        host=platform.node(),
        started=started,
        finished=now(),
        segments=segments,
        jobs=jobs,
        weights_sha256=weights_sha256,
        kernel=_or("", kernel_name, device),
        **(_gpu(device) if device.type == "cuda" else {}),
    )


def _libraries(device: torch.device) -> tuple[str, ...]:
    return LIBRARIES + GPU_LIBRARIES if device.type == "cuda" else LIBRARIES


def _gpu(device: torch.device) -> dict[str, object]:
    """What is told of a GPU beside its name; the settings of this process count."""
    card = _or(None, read_card, device)
    return {
        "capability": capability_of(card) if card is not None else "",
        "driver": driver_version(),
        "tf32": _or(None, lambda: torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32),
    }


def _or(otherwise: Answer, ask: Callable[..., Answer], *arguments: object) -> Answer:
    try:
        return ask(*arguments)
    except Exception:  # whatever a library or the system says instead of an answer
        return otherwise


def check_kernel(device: torch.device | None) -> None:
    """Raise UserError if the matching operator cannot run as PAIRBENCH_KERNEL asks.

    On a device of this machine it is compiled if need be; None is another machine, which may have another compiler.
    """
    try:
        forced_kernel()
        if device is not None:
            kernel_name(device)
    except (ValueError, RuntimeError) as fault:
        raise UserError(f"{fault}; set the variable PAIRBENCH_KERNEL otherwise, or not at all") from fault


def device_name(device: torch.device) -> str:
    """What a table calls the device: the GPU's name, or "CPU" with the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({cpu_name()})" if device.type == "cpu" else device.type


def cpu_name() -> str:
    """The processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
