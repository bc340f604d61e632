"""What a training step takes of memory, predicted without taking it, and what to say where it was too much."""

from __future__ import annotations

import contextlib
import functools
import weakref
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.cards import Card
from bench.config import CellConfig
from bench.network.matcher import Matcher

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def predicted_training_bytes(config: CellConfig, head: str, device_kind: str) -> int:
    """The peak of a training step in bytes: weights, gradients, momentum, and what autograd keeps and passes on.

    Counted on a step of tensors without values, in the run's precision; of heads whose `training_bytes` is not 0, that
    stands for their part. Beside it are workspaces of libraries, what an allocator holds unused, and on a CPU the
    process itself. `head` is what `variants.build` takes, and its code is run in this process; `device_kind` is "cpu",
    "cuda" or "mps". Takes some seconds the first time. Raises whatever a head does with tensors that hold no values.
    """
    # Neither the data nor the seed change it.
    alike = config.model_copy(update={"train": "", "seed": 0})
    return _count(alike.model_dump_json(), head, device_kind)


@functools.cache
def _count(written: str, head: str, device_kind: str) -> int:
    config = CellConfig.model_validate_json(written)
    batch = config.training.persons * config.training.images
    kind = _AUTOCAST.get(config.training.precision)
    mixed = torch.autocast("cpu", kind) if kind else contextlib.nullcontext()
    with FakeTensorMode(), _Peak() as memory:
        model = Matcher(config, head, None).train()
        memory.forget_peak()  # what making it took was elsewhere, and is gone
        told = model.head.training_bytes(batch, device_kind)
        with mixed:
            maps = model.backbone(torch.empty(batch, 3, config.input.height, config.input.width))
            if not told:
                found = model.head.encode(maps)
                maps = model.head.match(found, found)
        maps.float().sum().backward()
        momentum = sum(stored.numel() * stored.element_size() for stored in model.parameters() if stored.requires_grad)
    return memory.peak + momentum + told


class _Peak(TorchDispatchMode):
    """Follows, while it is entered, the memory of all tensors that operations make: each storage once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._hold(leaf.untyped_storage())
        return found

    def forget_peak(self) -> None:
        """Let the peak be that of what comes, beside what is held now."""
        self.peak = self._now

    def _hold(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self._held:
            return
        self._held.add(name)
        self._now += size
        self.peak = max(self.peak, self._now)
        # A storage lives as long as any tensor, or autograd, holds it.
        weakref.finalize(storage, self._let_go, name, size)

    def _let_go(self, name: int, size: int) -> None:
        self._held.discard(name)
        self._now -= size


def too_large(config: CellConfig, head: str, device_kind: str, free: int) -> str:
    """Why training ran out of memory, of which `free` bytes were free when it began, and what to lower: a sentence."""
    try:
        predicted = f"a step is predicted to take {_gib(predicted_training_bytes(config, head, device_kind))}"
    except Exception as fault:  # a head that cannot be run without values; its failure is not the run's
        predicted = f"what a step takes cannot be predicted ({type(fault).__name__})"
    where = "on the GPU" if device_kind == "cuda" else "in memory"
    return (
        f"out of memory in training: {predicted}, and {_gib(free)} were free {where} when it began; "
        f"{_what_to_lower(config, device_kind)}, or end other processes that hold memory"
    )


def never_fits(config: CellConfig, head: str, card: Card) -> str:
    """Why no step of training can fit into a GPU's memory, and what to lower: a sentence; "" where it may.

    What is compiled is not predicted: fused operations keep less.
    """
    if config.training.compile:
        return ""
    try:
        predicted = predicted_training_bytes(config, head, "cuda")
    except Exception:  # a head that cannot be run without values; training will tell
        return ""
    if predicted <= card.total_bytes:
        return ""
    return (
        f"a training step is predicted to take {_gib(predicted)}, and {card} has {_gib(card.total_bytes)} in all; "
        f"{_what_to_lower(config, 'cuda')}, or take a GPU with more memory"
    )


def _what_to_lower(config: CellConfig, device_kind: str) -> str:
    settings = config.training
    half = ", take training.precision=bf16 or fp16" if settings.precision == "fp32" and device_kind == "cuda" else ""
    return (
        f"lower training.persons ({settings.persons}) or training.images ({settings.images}), or input.height and "
        f"input.width ({config.input.height} x {config.input.width}){half}"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
