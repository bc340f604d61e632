"""The matching operator's GPU kernels as compiled for real sizes, with the options of a run, where no GPU is."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from compiled_launches import CountedBytes, Launch, compile_for, recorded

from variants.kernels import float32_products, maxima, maxima_triton
from variants.kernels.maxima_triton import ForwardTiling, forward_tiling

TOKENS, WIDTH = 192, 512
"""Of the paper: 24 x 8 positions, 512 channels."""

SHARED_BYTES = {(8, 0): 164 * 1024, (9, 0): 227 * 1024}
"""That a program may have, by compute capability (CUDA C++ Programming Guide, table of technical specifications)."""

FORWARD_STACK = {
    # capability, dtype, products: bytes of stack a thread at most (spilled registers) in scoring, in training
    ((8, 0), torch.bfloat16, "ieee"): (48, 48),
    ((8, 0), torch.float16, "ieee"): (48, 48),
    ((8, 0), torch.float32, "ieee"): (64, 64),
    ((8, 0), torch.float32, "tf32x3"): (384, 416),
    ((9, 0), torch.bfloat16, "ieee"): (128, 448),
    ((9, 0), torch.float16, "ieee"): (128, 448),
    ((9, 0), torch.float32, "ieee"): (64, 64),
    ((9, 0), torch.float32, "tf32x3"): (64, 64),
}


def images(count: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(count, TOKENS, WIDTH, dtype=dtype, device="meta")


def scoring(dtype: torch.dtype, products: str, capability: tuple[int, int]) -> Launch:
    prior = torch.empty(TOKENS, TOKENS, device="meta")
    query, gallery = images(2, dtype), images(3, dtype)
    return recorded(lambda: maxima_triton.forward(query, gallery, prior, True, False, products), capability)[0]


def step(dtype: torch.dtype, batch: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Images of a batch, a prior, gradients, maxima and positions."""
    shape = (batch, batch, 2, TOKENS)
    best = torch.empty(shape, device="meta")
    return images(batch, dtype), torch.empty(TOKENS, TOKENS, device="meta"), best + 0, best, best.to(torch.int16)


def training(dtype: torch.dtype, products: str, capability: tuple[int, int]) -> Launch:
    query, prior, *_ = step(dtype)
    return recorded(lambda: maxima_triton.forward(query, query, prior, True, True, products), capability)[0]


def backward(dtype: torch.dtype, capability: tuple[int, int]) -> dict[str, Launch]:
    query, prior, grad, best, at = step(dtype)
    found = recorded(lambda: maxima_triton.backward(grad, best, at, query, query, prior, True), capability)
    return {launch.name: launch for launch in found}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["scoring", "training"])
@pytest.mark.parametrize(("capability", "dtype", "products"), FORWARD_STACK, ids=str)
def test_the_forward_pass_compiles_to_what_the_gpu_has(capability, dtype, products, task):
    code = compile_for((scoring if task == "scoring" else training)(dtype, products, capability), capability)
    assert code.stack <= FORWARD_STACK[capability, dtype, products][task == "training"]
    assert code.shared <= SHARED_BYTES[capability]
    instruction = "wgmma" if capability == (9, 0) else "mma"
    expected = set() if (dtype, products) == (torch.float32, "ieee") else {instruction}
    assert code.matrix_instructions == expected


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("capability", SHARED_BYTES, ids=str)
def test_the_backward_pass_compiles_to_matrix_instructions_and_spills_next_to_nothing(capability, dtype):
    codes = {name: compile_for(launch, capability) for name, launch in backward(dtype, capability).items()}
    assert set(codes) == {"weights_kernel", "images_kernel", "prior_kernel"}
    assert codes["images_kernel"].matrix_instructions == {"wgmma" if capability == (9, 0) else "mma"}
    assert all(code.stack <= 16 and code.shared <= SHARED_BYTES[capability] for code in codes.values())


def test_a_gpu_is_told_what_a_call_asks_for(monkeypatch):
    asked = []

    def forward(*arguments):
        asked.append(arguments[3:])
        return torch.zeros(1, 1, 2, 3), None

    # The package's name `maxima` is the function; its module is found among the loaded ones.
    module = sys.modules["variants.kernels.maxima"]
    monkeypatch.setattr(module, "path", lambda *_: SimpleNamespace(forward=forward))
    query = torch.ones(1, 3, 2)
    maxima(query, query, torch.ones(3, 3), symmetric_prior=True)
    with float32_products("tf32x3"):
        maxima(query, query, torch.ones(3, 3))
    maxima(query, query)
    assert asked == [(True, False, "ieee"), (False, False, "tf32x3"), (True, False, "ieee")]
    with pytest.raises(ValueError, match="ieee or tf32x3, not 'tf32'"), float32_products("tf32"):
        pass


def test_the_work_of_a_step_takes_half_of_the_pairs_and_one_product_back():
    names = [launch.name for launch in recorded(lambda: _forward_and_backward(True))]
    assert names == ["forward_kernel", "weights_kernel", "images_kernel", "prior_kernel"]
    names = [launch.name for launch in recorded(lambda: _forward_and_backward(False))]
    assert names == ["forward_kernel", "weights_kernel", "images_kernel", "images_kernel", "prior_kernel"]


def _forward_and_backward(symmetric: bool) -> None:
    query, prior, grad, best, at = step(torch.bfloat16)
    maxima_triton.forward(query, query, prior, symmetric)
    maxima_triton.backward(grad, best, at, query, query, prior, symmetric)


def test_a_backward_pass_of_the_papers_size_moves_less_than_a_gigabyte():
    query, prior, grad, best, at = step(torch.bfloat16, 64)
    with CountedBytes() as counted:
        launches = recorded(lambda: maxima_triton.backward(grad, best, at, query, query, prior, True))
    total = 3 * (counted.total + sum(launch.tensor_bytes for launch in launches))
    assert 0.1e9 < total < 0.4e9


def test_positions_take_no_memory_where_nobody_wants_them():
    query, prior, *_ = step(torch.bfloat16)
    (launch,) = recorded(lambda: maxima_triton.forward(query, query, prior, True, False))
    assert launch.arguments["at"] is launch.arguments["best"] and not launch.arguments["keep"]


@pytest.mark.parametrize(
    ("length", "width", "dtype", "capability", "expected"),
    [
        (192, 512, torch.bfloat16, (9, 0), ForwardTiling(64, 64, 3, 3)),
        (192, 512, torch.bfloat16, (8, 0), ForwardTiling(64, 32, 3, 1)),
        (192, 512, torch.bfloat16, (12, 0), ForwardTiling(64, 32, 3, 1)),
        (192, 512, torch.float32, (9, 0), ForwardTiling(64, 32, 3, 1)),
        (256, 512, torch.float16, (9, 0), ForwardTiling(64, 64, 2, 2)),
        (512, 512, torch.float16, (9, 0), ForwardTiling(64, 64, 3, 3)),
        (20, 8, torch.float16, (9, 0), ForwardTiling(32, 16, 1, 1)),
        (1, 1, torch.float32, (8, 0), ForwardTiling(16, 16, 1, 1)),
    ],
)
def test_tiles_fit_the_sizes_and_the_gpu(length, width, dtype, capability, expected):
    assert forward_tiling(length, width, dtype, capability) == expected
