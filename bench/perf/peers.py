"""Packages for text retrieval that fuse a product with maxima on a GPU, beside the operator on the work they share.

Both score a query with a document by MaxSim: of each token of the one the best similarity to any token of the other,
summed. That is half of the operator's maxima without a prior; called a second time with the sides exchanged it is the
other half. Neither gives the maxima themselves, which the heads go on from, or takes a prior.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor

from bench.perf.works import Work
from variants.kernels import maxima

Score = Callable[[Tensor, Tensor], Tensor]

PEERS: dict[str, tuple[str, str, str, dict[str, bool]]] = {
    "late-interaction-kernels": ("late_interaction_kernels", "maxsim", "maxsim", {}),
    "flash-maxsim": ("flash_maxsim", "flash_maxsim_batched", "flash_maxsim_batched_train", {"shared_docs": True}),
}
"""By package: its module, its function for scoring, its function with gradients, and what both are told."""


def shared_work(work: Work) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """Functions that give MaxSim in both directions for all pairs of two batches, and why a peer is missing.

    `work` gives task, dtype, batch B, tokens T and width d; the operator's is called "ours".
    """
    generator = torch.Generator().manual_seed(1)
    query, gallery = (
        torch.nn.functional.normalize(torch.randn(work.batch, work.tokens, work.width, generator=generator), dim=2).to(
            work.device, work.torch_dtype
        )
        for _ in range(2)
    )
    backward = work.task == "forward+backward"
    if backward:
        query.requires_grad_(), gallery.requires_grad_()
    scores: dict[str, Score] = {"ours": _ours}
    missing = {}
    for name, (module, score, train, options) in PEERS.items():
        try:
            function = getattr(import_module(module), train if backward else score)
        except (ImportError, AttributeError) as fault:
            missing[name] = f"not measured ({fault}); pip install {name}"
            continue
        scores[name] = _both_directions(function, options)
    return {name: _run(score, query, gallery, backward) for name, score in scores.items()}, missing


def _ours(query: Tensor, gallery: Tensor) -> Tensor:
    return maxima(query, gallery).sum(dim=3)


def _both_directions(function: Callable[..., Tensor], options: dict[str, bool]) -> Score:
    def score(query: Tensor, gallery: Tensor) -> Tensor:
        return torch.stack((function(query, gallery, **options), function(gallery, query, **options).T), dim=2)

    return score


def _run(score: Score, query: Tensor, gallery: Tensor, backward: bool) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.set_grad_enabled(backward):
            found = score(query, gallery)
            if backward:
                found.float().square().sum().backward()
            return found.detach()

    return run
