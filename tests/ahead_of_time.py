"""Triton kernels compiled for a GPU that need not be there, and what the compiled code says of itself.

Run in a process of its own, `python tests/ahead_of_time.py SPEC`, where Triton's interpreter is not switched on: SPEC
is JSON with the fields of `compiled`, and the answer is that of `Compiled` as JSON.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""Shared memory that one program can have, by compute capability."""


@dataclass(frozen=True)
class Compiled:
    """What a kernel takes: registers a thread, bytes of stack a thread (spilled registers), bytes of shared memory,
    and how many matrix instructions (HMMA, HGMMA) and scalar fused multiply-adds (FFMA) its code has."""

    registers: int
    stack: int
    shared: int
    matrix: int
    scalar: int

    def fits(self, capability: int) -> bool:
        """Whether the shared memory is there."""
        return self.shared <= _SHARED_BYTES[capability]


def compiled(
    kernel: str, arguments: dict[str, str], constants: dict[str, Any], capability: int, warps: int = 4, stages: int = 3
) -> Compiled:
    """`kernel` ("module:name") for a compute capability (80, 90).

    `arguments`: their types by name ("*fp32", "i32"); those that end in "/16" are pointers or sizes that divide by
    16, as a run's do, which decides how wide loads are. `constants`: the values of constexpr arguments.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, name = kernel.split(":")
    function = getattr(importlib.import_module(module), name)
    types = {key: kind.removesuffix("/16") for key, kind in arguments.items()}
    signature = {key: types.get(key, "constexpr") for key in function.arg_names}
    aligned = [key for key, kind in arguments.items() if kind.endswith("/16")]
    places = {(function.arg_names.index(key),): [["tt.divisibility", 16]] for key in aligned}
    source = ASTSource(function, signature, constants, places)
    options = {"num_warps": warps, "num_stages": stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return _read(made.asm["cubin"], made.metadata.shared)


def _read(cubin: bytes, shared: int) -> Compiled:
    import triton.backends.nvidia

    tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, code = (
            subprocess.run([tool, flag, file.name], capture_output=True, text=True, check=True).stdout
            for flag in ("-res-usage", "-sass")
        )
    registers, stack = (int(re.search(rf"{what}:(\d+)", usage).group(1)) for what in ("REG", "STACK"))
    matrix, scalar = (len(re.findall(rf"\b{what}\b", code)) for what in ("HG?MMA", "FFMA"))
    return Compiled(registers, stack, shared, matrix, scalar)


def in_a_process(cache: Path, **spec: Any) -> Compiled:
    """As `compiled`, in a fresh process whose Triton caches in a folder of its own."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache), "TRITON_INTERPRET": "0"}
    command = [sys.executable, __file__, json.dumps(spec)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return Compiled(**json.loads(ended.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    print(json.dumps(dataclasses.asdict(compiled(**json.loads(sys.argv[1])))))
