"""FlexAttention as a peer of the matching operator in its forward pass: maxima of weighted similarities.

Its `score_mod` multiplies by the prior, and it can return the largest score of each row. Each pair of images is one
head of attention, and a second call with the sides exchanged gives the maxima of the other direction. What the operator
does not do it does as well: the softmax, and a product with values, which are as narrow as it allows. Maxima come
without positions and without gradients, so that it is a peer in scoring alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from variants.kernels import maxima

FLEX = "FlexAttention"

VALUE_WIDTH = 16
"""Columns of the values, the fewest that it takes."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 3e-2, torch.float16: 4e-3}
"""By which its maxima may differ from the operator's, as a share of the largest."""


def flex_maxima(query: Tensor, gallery: Tensor, prior: Tensor, attend: Callable[..., tuple[Tensor, object]]) -> Tensor:
    """[Q, T, d], [G, T, d], prior [T, T] -> [Q, G, 2, T] float32, as `variants.kernels.maxima` gives them.

    `attend` is `flex_attention`, compiled or not.
    """
    forth = _row_maxima(query, gallery, prior, attend)
    back = _row_maxima(gallery, query, prior.T.contiguous(), attend)
    return torch.stack((forth, back.transpose(0, 1)), dim=2)


def _row_maxima(query: Tensor, gallery: Tensor, prior: Tensor, attend: Callable[..., tuple[Tensor, object]]) -> Tensor:
    """[Q, G, T]: of each token of a query its largest weighted similarity to a token of the gallery's image."""
    from torch.nn.attention.flex_attention import AuxRequest

    def weigh(score: Tensor, batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return score * prior[row, column]

    shape = len(query), len(gallery), *query.shape[1:]
    rows, columns = query[:, None].expand(shape), gallery[None].expand(shape)
    values = columns[..., :VALUE_WIDTH]
    _, beside = attend(rows, columns, values, score_mod=weigh, scale=1.0, return_aux=AuxRequest(max_scores=True))
    return beside.max_scores.float()


def flex_run(query: Tensor, gallery: Tensor, prior: Tensor) -> Callable[[], Tensor]:
    """A function that computes the maxima of all pairs with FlexAttention, compiled.

    Raises RuntimeError, which says why, where it cannot be used here or gives other maxima than the operator.
    """
    try:
        from torch.nn.attention.flex_attention import AuxRequest, flex_attention  # noqa: F401 - older ones lack it
    except ImportError as fault:
        raise RuntimeError(f"not measured: this torch returns no maxima of scores ({fault})") from fault
    attend = torch.compile(flex_attention, fullgraph=True)

    @torch.inference_mode()
    def run() -> Tensor:
        return flex_maxima(query, gallery, prior, attend)

    try:
        if query.device.type != "cuda":
            # What a device lacks is said plainly only by the form that is not compiled.
            flex_maxima(query[:1, :1], gallery[:1, :1], prior[:1, :1], flex_attention)
        found = run()
    except Exception as fault:  # a compiler raises whatever it meets
        raise RuntimeError(f"not measured: {_cause(fault)}") from fault
    with torch.inference_mode():
        wanted = maxima(query, gallery, prior).float()
    off = ((found - wanted).abs().max() / wanted.abs().max()).item()
    if not off <= TOLERANCE[query.dtype]:
        raise RuntimeError(f"not measured: its maxima differ from the operator's by {off:.0e} of the largest")
    return run


def _cause(fault: BaseException) -> str:
    """What was wrong at first, in one line: compilers wrap it up in what they were doing."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    return (str(fault) or type(fault).__name__).strip().splitlines()[0]
