"""What the matching operator launches on a GPU, recorded without one and compiled with the options of a launch."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import triton
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from variants.kernels import maxima_triton

KERNELS = ("forward_kernel", "weights_kernel", "images_kernel", "prior_kernel")
_TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.int16: "i16"}


@dataclass(frozen=True)
class Launch:
    """One launch: the kernel's name, its arguments by name, and what Triton is told beside them."""

    name: str
    arguments: dict[str, object]
    options: dict[str, int]

    @property
    def tensor_bytes(self) -> int:
        """Of all tensors that it is given, each once."""
        return sum({id(part): part.nbytes for part in self.arguments.values() if isinstance(part, Tensor)}.values())


@dataclass(frozen=True)
class Code:
    """What ptxas made of a kernel: registers and bytes of stack of a thread, bytes of shared memory, and its PTX."""

    registers: int
    stack: int
    shared: int
    ptx: str

    @property
    def matrix_instructions(self) -> set[str]:
        """Kinds of matrix instructions: "wgmma" (Hopper's), "mma"."""
        found = re.findall(r"^\s*(?:@\S+ )?(wgmma\.mma_async|mma\.sync)", self.ptx, re.MULTILINE)
        return {name.partition(".")[0] for name in found}


def recorded(compute: Callable[[], object], capability: tuple[int, int] = (9, 0)) -> list[Launch]:
    """The launches of a call that runs on a GPU of this compute capability; nothing is computed."""
    launches: list[Launch] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name, self.parameters = name, getattr(maxima_triton, name).arg_names

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*arguments: object, **options: int) -> None:
                launches.append(Launch(self.name, dict(zip(self.parameters, arguments, strict=True)), options))

            return launch

    with pytest.MonkeyPatch.context() as patch:
        for name in KERNELS:
            patch.setattr(maxima_triton, name, Recorder(name))
        patch.setattr(maxima_triton, "_capability", lambda _: capability)
        compute()
    return launches


def compile_for(launch: Launch, capability: tuple[int, int]) -> Code:
    """The launch compiled as on a GPU of this compute capability, tensors aligned to 16 bytes as PyTorch's are."""
    kernel = getattr(maxima_triton, launch.name)
    constants = {p.name: launch.arguments[p.name] for p in kernel.params if p.is_constexpr}
    signature, attributes = {}, {}
    for place, (name, value) in enumerate(launch.arguments.items()):
        if isinstance(value, Tensor):
            signature[name], attributes[(place,)] = f"*{_TYPES[value.dtype]}", [["tt.divisibility", 16]]
        else:
            signature[name] = "constexpr" if name in constants else "i32"
    source = ASTSource(kernel, signature, constants, attributes)
    target = GPUTarget("cuda", 10 * capability[0] + capability[1], 32)
    compiled = triton.compile(source, target=target, options=launch.options)
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        told = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{word}:(\d+)", told)[1]) for word in ("REG", "STACK"))
    return Code(registers, stack, compiled.metadata.shared, compiled.asm["ptx"])


class CountedBytes(TorchDispatchMode):
    """Bytes that PyTorch's own operations read and write while it is on: tensors that are given and returned."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        found = function(*arguments, **(options or {}))
        if not function.is_view and "empty" not in function.name():
            self.total += sum(part.nbytes for part in (*arguments, found) if isinstance(part, Tensor))
        return found
