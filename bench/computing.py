"""How a run has torch compute: the same wherever runs are made, measured or predicted."""

from __future__ import annotations

import torch


def compute_as_runs_do(device: torch.device, threads: int) -> None:
    """Set this process up for a run on `device`: so many CPU threads, and no algorithm whose results may differ."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
