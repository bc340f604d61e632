"""How a run has torch compute: the same wherever runs are made, measured or predicted."""

from __future__ import annotations

import os
import warnings

import torch

from bench.environment import available_memory, triton_cache
from bench.errors import UserError
from variants.kernels import keep_freed_memory

_TOO_OLD = (
    "the GPU's driver is too old for this build of PyTorch ({build}); update the driver, or install a build for an "
    "older CUDA"
)

_UNUSABLE = (
    ("busy or unavailable", "another process has it to itself, as its exclusive mode allows; wait until that ends"),
    ("out of memory", "its memory is full, of other processes most likely; `nvidia-smi` lists them"),
    ("driver on your system is too old", _TOO_OLD),
    ("driver version is insufficient", _TOO_OLD),
    ("forward compatibility was attempted", _TOO_OLD),
    ("no kernel image", "this build of PyTorch ({build}) has no code for this kind of GPU; install one that has"),
    ("found no nvidia driver", "no NVIDIA driver is found"),
    ("not compiled with cuda", "this build of PyTorch ({build}) is for CPUs alone; install one for GPUs"),
    ("invalid device ordinal", "there is no such GPU"),
    ("no cuda gpus are available", "no GPU is shown to this process"),
)
"""What torch says, in small letters, of devices that it cannot use, and the same in words of use."""

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
"""What else than the two classes says that memory did not suffice: a CPU's allocator, CUDA itself, cuBLAS and cuDNN."""


def compute_as_runs_do(device: torch.device, threads: int | None = None, tf32: bool = False) -> None:
    """Set this process up to compute on `device` as a run does; to be called before anything else is done there.

    CPU threads as said; no algorithm whose results may differ from time to time; float32 products and convolutions of a
    GPU with their operands rounded to TF32 or not, both alike. A GPU becomes the current one of this process: compiled
    kernels go there. On a CPU freed memory is kept for the next step, until `reset_peak`. Raises UserError, one
    sentence, for a device that cannot be used.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would fill all memory that is about to be written; nothing here reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    with warnings.catch_warnings():
        # Some versions of torch would have newer names, which others do not know.
        warnings.simplefilter("ignore")
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
    if device.type == "cpu":
        keep_freed_memory()
    use_once(device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def use_once(device: torch.device) -> None:
    """Compute something on a device. Raises UserError, one sentence, where that cannot be done."""
    if device.type == "cpu":
        return
    if folder := triton_cache():
        os.environ.setdefault("TRITON_CACHE_DIR", folder)
    try:
        torch.ones(1, device=device).add(1).item()
    except (RuntimeError, AssertionError) as fault:
        raise UserError(f"{device} cannot be used: {why_unusable(str(fault))}") from fault


def why_unusable(text: str) -> str:
    """What torch says of a device that it cannot use, on one line and in words of use where they are known."""
    small = text.lower()
    for sign, words in _UNUSABLE:
        if sign in small:
            return words.format(build=f"torch {torch.__version__}")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "torch does not say why")
    return first.partition(". ")[0]


def out_of_memory(fault: BaseException) -> bool:
    """Whether a fault says that memory of the device or of the machine did not suffice."""
    if isinstance(fault, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(fault, RuntimeError) and any(words in str(fault).lower() for words in _NO_MEMORY)


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device, or may still be used by this process on a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
