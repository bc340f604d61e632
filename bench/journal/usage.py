"""What a run takes of the machine that it is on, as it says itself."""

from __future__ import annotations

from pydantic import Field

from bench.config import Settings


class Usage(Settings):
    """Of all processes that worked at a run, one after the other, interrupted ones and lost work included."""

    seconds: float = Field(ge=0)
    """Wall-clock, from the start of each process to its last word."""
    cpu_seconds: float = Field(ge=0)
    """Of all CPUs together, in user and system mode."""
    cpus: int = Field(ge=1)
    """CPUs that the last process could use."""
    host_bytes: int = Field(ge=0)
    """The most memory of the machine that one of the processes held at a time."""
    gpu_bytes: int | None = Field(None, ge=0)
    """The most that PyTorch held of the GPU, without what CUDA takes for itself; None without a GPU."""
    gpu_total_bytes: int | None = Field(None, ge=0)
    """What the GPU has in all."""
    gpu_busy: float | None = Field(None, ge=0, le=1)
    """The mean, over `gpu_samples` short spans spread over the run, of the share in which the GPU computed anything,
    for this run or for others; None where the driver does not say."""
    gpu_samples: int = Field(0, ge=0)
