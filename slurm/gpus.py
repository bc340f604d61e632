"""What kinds of GPUs compute in, by the names that clusters give them."""

from __future__ import annotations

import itertools
import re

from bench.config import Precision

USUAL: Precision = "bf16"
"""What a GPU is taken to compute in where nothing is known of it: all of NVIDIA's do since 2020."""

_KINDS: dict[Precision, tuple[str, ...]] = {
    "bf16": (
        *("a2", "a10", "a10g", "a16", "a30", "a40", "a100", "a800", "a2000", "a4000", "a4500", "a5000", "a6000"),
        *("h100", "h200", "h800", "h20", "gh200", "b100", "b200", "b300", "gb200", "gb300"),
        *("l4", "l20", "l40", "l40s", "3060", "3070", "3080", "3090", "4060", "4070", "4080", "4090"),
        *("5060", "5070", "5080", "5090", "mi210", "mi250", "mi250x", "mi300", "mi300a", "mi300x", "mi325x", "mi355x"),
    ),
    "fp16": (*("v100", "v100s", "titanv", "gv100", "t4", "t4g", "2060", "2070", "2080", "titanrtx", "rtx8000"),),
    "fp32": (
        *("p4", "p40", "p100", "gp100", "k80", "k40", "m40", "m60", "1070", "1080", "titanx", "titanxp"),
        *("mi50", "mi100"),
    ),
}
"""Without the names that workstation cards of two generations share, such as RTX 6000."""


def precision_of(gpu_type: str | None) -> Precision | None:
    """What `auto` precision means on a kind of GPU, as in --gres=gpu:TYPE:1; None for a kind that is not known.

    Clusters write the same card in many ways: a100, nvidia_a100-sxm4-80gb, rtx_2080_ti, tesla_v100.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", (gpu_type or "").lower()) if word]
    # A word of letters belongs to the number behind it: rtx_8000, titan_rtx.
    pairs = [first + second for first, second in itertools.pairwise(words)]
    # "2080ti" is a 2080.
    bare = [re.sub(r"(ti|super)$", "", word) for word in words]
    names = [*pairs, *words, *bare, *(word.removeprefix("rtx").removeprefix("gtx") for word in bare)]
    found = {kind: precision for precision, kinds in _KINDS.items() for kind in kinds}
    return next((found[name] for name in names if name in found), None)
