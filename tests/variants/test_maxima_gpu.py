"""The matching operator on a GPU: its kernel in Triton's interpreter, through its compiler, and on a GPU itself."""

from __future__ import annotations

import apart
import pytest
import torch
from fresh_python import run

from variants.kernels import maxima

pytest.importorskip("triton")


@pytest.mark.slow
def test_the_gpu_kernel_agrees_in_tritons_interpreter():
    code = """
import torch
from variants.kernels import maxima_triton, plain
torch.manual_seed(0)
# Sizes within a tile and beyond it in both directions, which the interpreter takes its time for.
for Q, G, T, d in ((2, 3, 7, 5), (1, 2, 1, 3), (1, 1, 70, 33), (1, 2, 130, 20)):
    for dtype in (torch.float32, torch.float16):  # the interpreter multiplies bfloat16 as integers
        query, gallery, prior = torch.randn(Q, T, d).to(dtype), torch.randn(G, T, d).to(dtype), torch.randn(T, T)
        several = T < 64 or dtype == torch.float32
        for weight in (None, prior, prior.sigmoid()) if several else (prior,):
            for other in (gallery, query) if several else (gallery,):
                for found, expected in zip(*(m.forward(query, other, weight) for m in (maxima_triton, plain))):
                    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
ones = torch.ones(1, 70, 3)
assert not maxima_triton.forward(ones, ones, None)[1].any()
ones[0, 40, 1] = float("nan")
for found, expected in zip(maxima_triton.forward(ones, ones, None), plain.forward(ones, ones, None)):
    assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7))
print("agrees")
"""
    assert run(code, TRITON_INTERPRET="1") == "agrees\n"


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "same"), [("fp32", True), ("bf16", False)], ids=["fp32-same", "bf16-two"])
def test_the_gpu_kernel_compiles_without_a_gpu(dtype, same, tmp_path):
    code = f"""
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from variants.kernels.maxima_triton import _maxima_kernel
signature = dict(query="*{dtype}", gallery="*{dtype}", prior="*fp32", best="*fp32", at="*i16", images="i32")
signature |= dict.fromkeys(("positions", "width"), "i32")
signature |= dict.fromkeys(("weighted", "same", "side", "depth"), "constexpr")
source = ASTSource(_maxima_kernel, signature, dict(weighted=True, same={same}, side=64, depth=32))
print(len(triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]) > 0)
"""
    assert apart.code(code, TRITON_CACHE_DIR=str(tmp_path)) == "True\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2), (torch.float16, 5e-3)])
def test_the_gpu_gives_the_numbers_of_the_cpu(dtype, tolerance, same):
    torch.manual_seed(0)
    found = []
    inputs = [torch.randn(3, 130, 70).to(dtype), torch.randn(5, 130, 70).to(dtype), torch.rand(130, 130)]
    for device in ("cpu", "cuda"):
        query, gallery, prior = (part.to(device, copy=True).requires_grad_() for part in inputs)
        best = maxima(query, query if same else gallery, prior)
        best.float().square().sum().backward()
        found.append([best, query.grad, prior.grad] + ([] if same else [gallery.grad]))
    for ours, theirs in zip(*found, strict=True):
        assert (ours.float() - theirs.cpu().float()).norm() <= tolerance * ours.float().norm()
