"""What a GPU is, and what it computes in by itself: without emulation, and with its matrix units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bench.config import CellConfig, Precision

_AMD_WITH_BF16 = ("gfx90a", "gfx94", "gfx95", "gfx11", "gfx12")
"""How AMD's architectures begin that multiply matrices in bfloat16 (CDNA 2, RDNA 3, and later)."""


@dataclass(frozen=True)
class Card:
    """A GPU, as a process that uses it finds it."""

    name: str
    capability: tuple[int, int] | None
    """NVIDIA's compute capability; None for cards of other vendors."""
    architecture: str
    """AMD's, such as gfx90a; "" for NVIDIA's cards."""
    free_bytes: int
    total_bytes: int
    driver: str
    """Its version; "" where the system does not say."""

    @property
    def has_bf16(self) -> bool:
        """Whether it multiplies in bfloat16 by itself, as NVIDIA's do from compute capability 8.0 on."""
        if self.capability is None:
            return self.architecture.startswith(_AMD_WITH_BF16)
        return self.capability >= (8, 0)

    @property
    def has_tf32(self) -> bool:
        """Whether it can round operands of float32 products to TF32."""
        return self.capability is not None and self.capability >= (8, 0)

    @property
    def precision(self) -> Precision:
        """What `auto` means on it: bf16, or fp16 where only that has matrix units (7.0 to 7.5), else fp32."""
        if self.has_bf16:
            return "bf16"
        return "fp16" if self.capability is not None and self.capability >= (7, 0) else "fp32"

    def __str__(self) -> str:
        """Its name, with what says what it can do."""
        kind = f"compute capability {capability_of(self)}" if self.capability else self.architecture
        return f"{self.name} ({kind})" if kind else self.name


def capability_of(card: Card) -> str:
    """ "8.0" for NVIDIA's cards, AMD's architecture for theirs."""
    return ".".join(map(str, card.capability)) if card.capability else card.architecture


def read_card(device: torch.device) -> Card:
    """The GPU of this process, which is used for it. Raises RuntimeError for one that cannot be used."""
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    amd = torch.version.hip is not None
    return Card(
        name=properties.name,
        capability=None if amd else (properties.major, properties.minor),
        architecture=getattr(properties, "gcnArchName", "").partition(":")[0] if amd else "",
        free_bytes=free,
        total_bytes=total,
        driver=driver_version(),
    )


def driver_version(root: Path = Path("/")) -> str:
    """The version of the driver of this machine's GPUs; "" where the system does not say."""
    try:
        words = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        words = []
    numbers = (word for word in words if word[:1].isdigit() and "." in word)
    if found := next(numbers, ""):
        return found
    try:
        return (root / "sys/module/amdgpu/version").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def unsuited(config: CellConfig, card: Card) -> str:
    """Why a run of this configuration is not to be made on a card, and what to do; "" where it may be.

    Its id says in which arithmetic it computes: a card that lacks it would take many times as long to emulate it, or
    compute in another without a word.
    """
    if config.training.precision == "bf16" and not card.has_bf16:
        way = f"training.precision={card.precision}"
        return f"the run is one in bf16, and {card} has no bfloat16; give the same command with --set {way}"
    if config.evaluation.scoring == "bfloat16" and not card.has_bf16:
        return (
            f"evaluation.scoring is bfloat16, and {card} has none; give the same command with --set "
            "evaluation.scoring=float32"
        )
    if config.tf32 and not card.has_tf32:
        return f"tf32=true, and {card} has no TF32; give the same command with --set tf32=false"
    return ""
