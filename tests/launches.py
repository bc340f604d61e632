"""What code would do on a GPU, counted without one: kernels launched, bytes moved, waits of the host.

    with FakeTensorMode():
        network, images = ...
        with Launches() as counted:              # inside the fake mode, or it sees what that makes of an operation
            loss(network(images)).backward()
    counted.launches, counted.bytes, counted.waits

Autograd takes fake tensors of "cuda" only where there is a GPU: elsewhere forward passes are counted with them, and
backward passes with those of "cpu", on which code that asks for the device takes the CPU's way. `mixed_precision` is
autocast for either. Operations that need values, such as `.item()`, are written down under `waits` before a fake
tensor refuses them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WITHOUT_A_KERNEL = {
    "_reshape_alias", "_unsafe_view", "as_strided_", "detach_", "empty", "empty_like", "empty_permuted",
    "empty_strided", "lift_fresh", "new_empty", "new_empty_strided", "record_stream", "resize_", "set_", "squeeze_",
    "t_", "transpose_", "unsqueeze_",
}  # fmt: skip
_ONLY_WRITING = {"copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_"}
_NEEDING_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Launches(TorchDispatchMode):
    """Counts, while it is entered, what every operation on tensors launches and moves.

    What gives no tensor, a view or fresh memory launches nothing; any other operation one kernel, however many a
    library may take for it; one on lists of tensors as many as it has tensors, unless the lists agree in dtype and in
    shapes, which is when torch takes them together; and one of our own as many as `kernels` says under its qualified
    name ("pairbench::maxima": 1 by default). Bytes are those of all tensors read and written, each once an operation,
    expanded ones as stored.
    """

    def __init__(self, kernels: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.kernels = dict(kernels or {})
        self.operations: Counter[str] = Counter()
        """Kernels by operation."""
        self.moved: Counter[str] = Counter()
        """Bytes by operation."""
        self.waits: Counter[str] = Counter()
        """Operations that make the host wait for the device, or copy between them without pinned memory."""

    @property
    def launches(self) -> int:
        """Kernels in all."""
        return self.operations.total()

    @property
    def bytes(self) -> int:
        """Bytes read and written in all."""
        return self.moved.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        short = name.split("::")[-1]
        if _waits(func, short, args, kwargs):
            self.waits[name] += 1
        found = func(*args, **kwargs)
        written = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        changing = func._schema.is_mutable
        if (written or changing) and not func.is_view and short not in _WITHOUT_A_KERNEL:
            self.operations[name] += self.kernels.get(name, _kernels(short, args))
            self.moved[name] += _moved(short, args, kwargs, written)
        return found

    def report(self, most: int = 20) -> str:
        """The operations with the most kernels, a line each: kernels, megabytes, name; totals first."""
        lines = [f"{self.launches} launches, {self.bytes / 1e6:.1f} MB, {self.waits.total()} waits"]
        lines += [f"{n:6} {self.moved[name] / 1e6:12.2f}  {name}" for name, n in self.operations.most_common(most)]
        return "\n".join(lines)


@contextlib.contextmanager
def mixed_precision(device_type: str, dtype: torch.dtype) -> Iterator[None]:
    """Autocast that does not ask whether the device is there; `torch.autocast` switches itself off where it is not."""
    before = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)
    torch.set_autocast_enabled(device_type, True)
    torch.set_autocast_dtype(device_type, dtype)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(device_type, before[0])
        torch.set_autocast_dtype(device_type, before[1])


def _waits(func: Any, short: str, args: tuple, kwargs: dict) -> bool:
    """Whether an operation lets the host wait: it needs values, or copies between devices while the host looks on."""
    if short in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"):
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if _NEEDING_VALUES & set(func.tags):
        return True
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if short == "_to_copy":
        target = torch.device(kwargs.get("device") or tensors[0].device).type
        return target != tensors[0].device.type and not kwargs.get("non_blocking", False)
    if short == "copy_":
        blocking = not (kwargs.get("non_blocking", False) or (len(args) > 2 and args[2]))
        return blocking and args[0].device.type != args[1].device.type
    return False


def _kernels(short: str, args: tuple) -> int:
    """1, or of an operation on lists as many as it has tensors where these cannot be taken together."""
    lists = [arg for arg in args if isinstance(arg, list | tuple) and arg and isinstance(arg[0], Tensor)]
    if not short.startswith("_foreach") or not lists:
        return 1
    alike = len({tensor.dtype for part in lists for tensor in part}) == 1
    alike &= all(len({tensor.shape for tensor in together}) == 1 for together in zip(*lists, strict=True))
    return 1 if alike else len(lists[0])


def _moved(short: str, args: tuple, kwargs: dict, written: list[Tensor]) -> int:
    read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if short in _ONLY_WRITING or short.startswith("_foreach_zero"):
        read = read[1:]
    return sum(map(stored_bytes, read)) + sum(map(stored_bytes, written))


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of memory that a tensor covers: an axis it is expanded along counts once."""
    entries = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        entries *= size if stride or not size else 1
    return entries * tensor.element_size()
