"""The MLP on a GPU: its kernel in Triton's interpreter and compiled ahead of time, whole heads on fake tensors."""

from __future__ import annotations

import contextlib
import importlib.util

import pytest
import torch
from ahead_of_time import Compiled, in_a_process
from fresh_python import run
from launches import Launches, mixed_precision
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from variants import build
from variants._base import Repr
from variants.kernels import mlp

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")


@needs_triton
@pytest.mark.slow
def test_the_kernel_agrees_in_tritons_interpreter():
    code = """
import torch
from unittest import mock
from variants.kernels import mlp, mlp_triton
torch.manual_seed(0)
mlp_triton.torch.cuda.device_of = lambda tensor: mock.MagicMock()
def plain(rows, centre, weight, bias, last_weight, last_bias):
    return torch.relu((rows - centre) @ weight.T + bias) @ last_weight.T + last_bias
for M, T, D in ((1, 1, 1), (5, 7, 3), (130, 33, 65), (128, 32, 64), (300, 70, 130)):
    inputs = [5 + torch.randn(M, T), 5 + torch.randn(T), *map(torch.randn, ((D, T), D, (1, D), 1))]
    for precision, tolerance in (("tf32x3", 1e-5), ("ieee", 1e-5), ("fp16", 2e-2)):
        found = mlp_triton.scores(*inputs, precision)
        torch.testing.assert_close(found, plain(*inputs), rtol=tolerance, atol=tolerance * D**0.5)
        blocks = mlp._scores(*inputs, precision)
        torch.testing.assert_close(found, blocks, rtol=tolerance, atol=tolerance * D**0.5)
rows, *others = inputs
rows[3, 2], rows[200, 69], rows[299] = float("nan"), float("inf"), -float("inf")
found, expected = mlp_triton.scores(rows, *others, "ieee"), plain(rows, *others)
odd = torch.tensor([3, 200, 299])
assert torch.equal(found[odd].isfinite(), expected[odd].isfinite()) and found[3].isnan()
keep = torch.ones(300, dtype=bool).index_fill(0, odd, False)
torch.testing.assert_close(found[keep], expected[keep], rtol=1e-5, atol=1e-4)
assert mlp_triton.scores(rows[:0], *others, "ieee").shape == (0, 1)
print("agrees")
"""
    assert run(code, TRITON_INTERPRET="1") == "agrees\n"


MOST_STACK = {("tf32x3", 80): 0, ("tf32x3", 90): 0, ("bf16", 80): 24, ("bf16", 90): 0, ("tf32", 80): 16}
"""Bytes of spilled registers a thread, at most, by precision and compute capability."""


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "capability"), MOST_STACK)
def test_the_kernel_compiles_to_matrix_instructions_with_few_spills(precision, capability, tmp_path):
    from variants.kernels.mlp_triton import DEPTH, OUTPUTS, ROWS, WARPS

    types = dict.fromkeys(("rows", "centre", "weight", "bias", "last_weight"), "*fp32/16")
    types |= {"last_bias": "*fp32", "found": "*fp32/16", "count": "i32"}
    types |= dict.fromkeys(("positions", "outputs"), "i32/16")
    constants = {"precision": precision, "side": ROWS, "chunk": OUTPUTS, "depth": DEPTH}
    kernel = "variants.kernels.mlp_triton:_mlp_kernel"
    made: Compiled = in_a_process(
        tmp_path, kernel=kernel, arguments=types, constants=constants, capability=capability, warps=WARPS
    )
    assert made.matrix > 0 and made.scalar < 100 and made.fits(capability)
    assert made.stack <= MOST_STACK[precision, capability]


def fake_batch(images: int = 6, **options: object) -> tuple[torch.nn.Module, Repr]:
    with torch.device("cuda"):
        head = build("transmatcher", (16, 4, 2), feedforward=24, layers=2, **options)
        return head, Repr(levels=torch.empty(images, 2, 8, 16))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"symmetric_prior": False}, {"mlp_head1": False}, {"bn1": False}], ids=str)
def test_the_host_never_waits_for_a_gpu_in_matching(options, training):
    with FakeTensorMode():
        head, batch = fake_batch(**options)
        other = Repr(levels=torch.empty(4, 2, 8, 16, device="cuda"))
        with Launches() as counted, torch.set_grad_enabled(training):
            for gallery in (batch, other):
                assert head.train(training).match(batch, gallery).device.type == "cuda"
    assert counted.launches and not counted.waits


def test_qaconv_never_waits_either():
    with FakeTensorMode():
        with torch.device("cuda"):
            head = build("qaconv", (16, 4, 2))
        batch = Repr(tokens=torch.empty(6, 8, 16, device="cuda"))
        with Launches() as counted:
            head.train().match(batch, batch), head.eval().match(batch, batch)
    assert counted.launches and not counted.waits


@pytest.mark.parametrize(("most", "products"), [(None, 1), (2 * 21 * 24 - 1, 2)])
def test_training_takes_one_block_where_memory_allows(most, products, monkeypatch):
    """In one block the hidden layer is one product of a layer, that autograd keeps; beyond it, it is checkpointed."""
    if most is not None:
        monkeypatch.setattr(mlp, "GPU_TRAINING_ENTRIES", most)
    kept: list[tuple[int, ...]] = []
    with FakeTensorMode():
        head, batch = fake_batch()
        saved = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(tuple(x.shape)) or x, lambda x: x)
        with Launches() as counted, saved:
            head.train().match(batch, batch)
    assert counted.operations["aten::addmm"] == 2 * 2 * products  # two layers, each two linear layers
    assert ((2 * 21, 24) in kept) == (products == 1)  # 21 pairs of 6 images in both directions


@pytest.mark.parametrize(
    ("dtype", "precision"), [(None, "tf32x3"), (torch.bfloat16, "bf16"), (torch.float16, "fp16")], ids=str
)
def test_scoring_takes_one_kernel_for_the_mlp(dtype, precision):
    with FakeTensorMode():
        head, batch = fake_batch()
        with contextlib.nullcontext() if dtype is None else mixed_precision("cuda", dtype):
            assert mlp._precision() == precision
            with Launches() as counted, torch.no_grad():
                scores = head.eval().match(batch, batch[:])
    assert scores.dtype == torch.float32 and scores.shape == (6, 6)
    assert counted.operations["pairbench::mlp"] == 2 and "aten::addmm" not in counted.operations


@pytest.mark.parametrize(("device", "least"), [("cpu", 0.2), ("cuda", 0.9)])
def test_what_a_pair_keeps_is_what_is_declared(device, least):
    """The bytes that autograd keeps for a pair, counted: the hidden layer among them on a GPU alone."""
    kept: dict[int, Tensor] = {}

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with FakeTensorMode(), torch.device(device):
        head = build("transmatcher", (512, 24, 8)).train()
        batch = Repr(levels=torch.empty(128, 3, 192, 512))
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            head.match(batch, batch)
        given = {tensor.untyped_storage()._cdata for tensor in [*head.parameters(), batch.levels]}
        measured = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in given)
    assert least < measured / 128**2 / head.pair_bytes(training=True) < 1.1


def test_a_pair_takes_no_more_in_scoring_than_is_declared():
    """On a GPU: its maxima and what the MLP's kernel makes of them, level after level."""
    with FakeTensorMode():
        head, batch = fake_batch(64)
        with Launches() as counted, torch.no_grad():
            head.eval().match(batch, batch[:])
    made = counted.moved["pairbench::mlp"] + counted.moved["aten::sum"]  # reads all maxima
    assert made / 2 / 64**2 < head.pair_bytes()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("training", [True, False])
def test_the_gpu_gives_the_scores_of_the_cpu(training):
    torch.manual_seed(0)
    head = build("transmatcher", (64, 12, 4), feedforward=200, layers=2).train(training)
    levels = torch.randn(9, 2, 48, 64)
    found = []
    for device in ("cpu", "cuda"):
        batch = Repr(levels=levels.to(device))
        with torch.set_grad_enabled(training):
            found.append(head.to(device).match(batch, batch[:]).detach().cpu())
    assert (found[0] - found[1]).norm() <= 1e-4 * found[0].norm()
