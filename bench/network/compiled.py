"""The backbone through torch.compile, for training steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from bench.errors import CellFailed
from bench.network.backbone import Backbone


def compiled(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    """`backbone` as a function that is compiled when it is first called, for batches of that size.

    On a GPU the weights are laid out with channels last, and so the maps: what convolutions there are made for. Weights
    stay those of `backbone`. The first call raises CellFailed where the machine cannot compile.
    """
    if next(backbone.parameters()).device.type == "cuda":
        backbone.to(memory_format=torch.channels_last)
    run = torch.compile(backbone.forward, dynamic=False)

    def forward(images: Tensor) -> Tensor:
        try:
            return run(images)
        except TorchDynamoException as fault:
            reason = str(fault).strip().splitlines()[0]
            raise CellFailed(
                f"the backbone cannot be compiled on this machine ({reason}); install a C++ compiler, or set "
                "training.compile=false"
            ) from fault

    return forward
