"""Which form of the matching operator runs on a device: compiled for the CPU, Triton's, or plain PyTorch."""

from __future__ import annotations

import functools
import importlib
import logging
from types import ModuleType

import torch

from variants.kernels import native

LEAST_CAPABILITY = (8, 0)
"""Compute capability from which the Triton kernel has matrix instructions for all dtypes. For older GPUs some versions
of Triton emit slow code, and others abort the process, which nobody can catch."""

_LOG = logging.getLogger(__name__)


def kernel_name(device: torch.device) -> str:
    """What runs the operator on a device: "compiled" (a CPU's), "triton" or "plain".

    Raises as `native.forced` and `native.library` do. The first question about a GPU launches the kernel once.
    """
    if native.forced() == "plain":
        return "plain"
    if device.type == "cuda":
        return "triton" if usable(device) is None else "plain"
    return "compiled" if device.type == "cpu" and native.library() is not None else "plain"


def usable(device: torch.device) -> str | None:
    """Why the Triton kernel cannot run on a device, or None if it can.

    Found out once a process and device, by matching one pair of images there, forward and backward, with one line of
    warning if that fails. It creates a CUDA context in the calling process; the first time on a machine it compiles
    for some seconds. `torch.device("cuda")` is the current device.
    """
    if device.type != "cuda":
        return f"{device.type} is no NVIDIA GPU"
    return _tried(torch.cuda.current_device() if device.index is None else device.index)


@functools.cache
def _tried(index: int) -> str | None:
    reason = _reason(torch.device("cuda", index))
    if reason is not None:
        slower = "matching runs in plain PyTorch, several times slower: no Triton kernel on cuda:%d (%s)"
        _LOG.warning(slower, index, reason)
    return reason


def _reason(device: torch.device) -> str | None:
    if torch.version.hip is not None:
        return "an AMD GPU, where the kernel is untested"
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        return "compute capability {}.{}, below {}.{}".format(*capability, *LEAST_CAPABILITY)
    try:
        kernels = importlib.import_module("variants.kernels.maxima_triton")
        kernels.match_one_pair(device)
    except Exception as fault:  # whatever an import, a compiler or a driver says
        return f"{type(fault).__name__}: {fault}".strip().splitlines()[0]
    return None


def path(device: torch.device, dtype: torch.dtype) -> ModuleType:
    """The module whose `forward` and `backward` run for images of this dtype on this device."""
    name = "plain" if device.type == "cuda" and dtype == torch.float64 else kernel_name(device)
    return importlib.import_module(f"variants.kernels.{_MODULES[name]}")


_MODULES = {"compiled": "native", "triton": "maxima_triton", "plain": "plain"}
