"""What a test may take of a GPU's memory."""

from __future__ import annotations

import torch

from bench.config import Evaluation
from bench.errors import UserError

SHARE = 0.75
"""Of a GPU's free memory, where nothing else is said; the rest is for encoding and for an operator's scratch memory."""


def gpu_budget(settings: Evaluation, device: torch.device) -> int | None:
    """Bytes of a GPU's memory for representations and blocks; None on any other device, which shares the machine's.

    By default a share of what is free now, in whole GiB, so that the same card gives the same plan again. Raises
    UserError if more is asked for than the card has.
    """
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    # What torch holds for later is free to this process, though not to others.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if settings.gpu_memory_gib is None:
        return _whole_gib(int(SHARE * free))
    asked = int(settings.gpu_memory_gib * 2**30)
    if asked > total:
        raise UserError(
            f"evaluation.gpu_memory_gib={settings.gpu_memory_gib:g} is more than {device} has "
            f"({total / 2**30:.1f} GiB, of which {free / 2**30:.1f} are free); ask for less, or leave it out for three "
            "quarters of what is free"
        )
    return asked


def too_large_a_test(settings: Evaluation, device: torch.device) -> str:
    """Why a test ran out of memory again and again, and what to lower: a sentence."""
    if device.type != "cuda":
        return (
            f"out of memory in testing, within its budget of {settings.memory_gib:g} GiB for scores and "
            "representations: lower --memory, or end other processes that hold memory"
        )
    free, total = torch.cuda.mem_get_info(device)
    return (
        f"out of memory in testing: of the GPU's {total / 2**30:.1f} GiB {free / 2**30:.1f} are free beside what the "
        f"test holds; lower evaluation.gpu_memory_gib or evaluation.batch ({settings.batch}), or end other processes "
        "that hold its memory"
    )


def _whole_gib(size: int) -> int:
    return size if size < 2**32 else size // 2**30 * 2**30
