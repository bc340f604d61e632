"""What a training step keeps in memory, counted without doing it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.config import CellConfig
from bench.network.matcher import Matcher

FEW, MORE = 2, 4
"""Images of the two batches that are counted, to tell what grows with their number from what does not."""

PASSING = 1.15
"""What a backward pass holds at once, as a multiple of what was kept for it: gradients on their way."""


@dataclass(frozen=True)
class Kept:
    """Bytes of a training step, by what they grow with."""

    weights: int
    """Weights, their gradients and momentum, and statistics."""
    image: int
    """Kept of an image for the backward pass, by backbone and `encode`."""
    batch: int
    """Images of a batch."""
    pairs: int
    """Of `match`, as the head predicts it, for a batch."""

    @property
    def total(self) -> int:
        """The predicted peak, beside an allocator's unused memory and, on a CPU, the process itself."""
        return self.weights + int(PASSING * self.image * self.batch) + self.pairs


def kept_by_a_step(config: CellConfig, head: str, device_kind: str) -> Kept:
    """Count a row's step with tensors without values. `config` is resolved; `head` is what `variants.build` takes.

    Code of a head from outside is run. Raises whatever such code does with tensors that hold no values.
    """
    batch = config.training.persons * config.training.images
    with FakeTensorMode():
        model = Matcher(config, head, None).train()
        few, more = (_kept(model, config, images) for images in (FEW, MORE))
        parameters = _bytes(model.parameters())
        weights = 3 * parameters + _bytes(model.buffers())
        pairs = model.head.training_bytes(batch, device_kind)
    image = (more - few) // (MORE - FEW)
    # Such as copies of the weights in half the width.
    return Kept(weights + max(0, few - FEW * image), image, batch, pairs)


def _kept(model: Matcher, config: CellConfig, images: int) -> int:
    """Bytes that backbone and `encode` keep for the backward pass beside weights and statistics."""
    own = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if (key := _storage(tensor)) not in own:
            found[key] = tensor.untyped_storage().nbytes()
        return tensor

    batch = torch.rand(images, 3, config.input.height, config.input.width)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), model.autocast():
        # Held until all is counted, so that no storage's number is given to another.
        held = model.encode(batch)
    del held
    return sum(found.values())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
