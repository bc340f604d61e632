"""Linear, ReLU, linear to one number on a GPU: a Triton kernel of which the hidden layer never leaves the chip.

One program for 128 rows: it takes the hidden layer a chunk of outputs at a time, in registers, and adds up what each
chunk contributes to the rows' scores. Nothing is added by two programs, so results do not depend on their order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, OUTPUTS, DEPTH, WARPS = 128, 64, 32, 8
"""Rows and hidden outputs of a tile, the depth of a step of its product, and the warps that share a program."""


def scores(
    rows: Tensor, centre: Tensor, weight: Tensor, bias: Tensor, last_weight: Tensor, last_bias: Tensor, precision: str
) -> Tensor:
    """relu((rows - centre) @ weight^T + bias) @ last_weight^T + last_bias: [M, T] -> [M, 1], all float32.

    centre [T], weight [D, T], bias [D], last_weight [1, D], last_bias [1]. `precision` of the first product: "ieee";
    "tf32x3", as exact to about the last bit on tensor cores; "tf32"; "bf16" or "fp16". All else is float32.
    """
    rows, weight = rows.contiguous(), weight.contiguous()
    (count, positions), outputs = rows.shape, len(weight)
    found = torch.empty(count, 1, dtype=torch.float32, device=rows.device)
    if count:
        with torch.cuda.device_of(rows):
            _mlp_kernel[(triton.cdiv(count, ROWS),)](
                rows, centre.contiguous(), weight, bias.contiguous(), last_weight.contiguous(), last_bias, found,
                count, positions, outputs, precision, ROWS, OUTPUTS, DEPTH, num_warps=WARPS,
            )  # fmt: skip
    return found


@triton.jit
def _mlp_kernel(
    rows, centre, weight, bias, last_weight, last_bias, found, count, positions, outputs,
    precision: tl.constexpr, side: tl.constexpr, chunk: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * side + tl.arange(0, side)
    here = row < count
    step = tl.arange(0, depth)
    total = tl.zeros([side], tl.float32)
    for left in range(0, outputs, chunk):
        output = left + tl.arange(0, chunk)
        wanted = output < outputs
        hidden = tl.zeros([side, chunk], tl.float32)
        for k in range(0, positions, depth):
            inside = k + step < positions
            a = tl.load(rows + row[:, None] * positions + (k + step)[None, :],
                        mask=here[:, None] & inside[None, :], other=0.0)  # fmt: skip
            a -= tl.load(centre + k + step, mask=inside, other=0.0)[None, :]
            b = tl.load(weight + output[None, :] * positions + (k + step)[:, None],
                        mask=wanted[None, :] & inside[:, None], other=0.0)  # fmt: skip
            if precision == "bf16":
                hidden = tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), hidden)
            elif precision == "fp16":
                hidden = tl.dot(a.to(tl.float16), b.to(tl.float16), hidden)
            else:
                hidden = tl.dot(a, b, hidden, input_precision=precision)
        hidden += tl.load(bias + output, mask=wanted, other=0.0)[None, :]
        # Not tl.maximum, which would take 0 for NaN.
        hidden = tl.where(hidden < 0, 0.0, hidden)
        slope = tl.load(last_weight + output, mask=wanted, other=0.0)
        # Where there is no output, an infinite row would give 0 * inf.
        total += tl.sum(tl.where(wanted[None, :], hidden * slope[None, :], 0.0), 1)
    tl.store(found + row, total + tl.load(last_bias), mask=here)
