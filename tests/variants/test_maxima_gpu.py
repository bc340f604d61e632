"""The matching operator on a GPU itself: numbers, gradients, the same bits each time, many images, several GPUs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from variants.kernels import dense_maxima, float32_products, kernel_name, maxima, plain, usable_kernel
from variants.kernels.maxima import _maxima

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

LIMITS = {torch.float32: 1e-5, torch.bfloat16: 5e-3, torch.float16: 1e-3}
"""Largest distance from float64 as a share of the norm: what rounding of weights or products explains."""


def apart(found: Tensor, expected: Tensor) -> float:
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm())


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def symmetric_prior(positions: int) -> Tensor:
    embedding = draw(positions, positions, seed=9)
    return ((embedding + embedding.T) / 2).sigmoid()


@pytest.mark.parametrize("products", ["ieee", "tf32x3"])
@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
@pytest.mark.parametrize(("positions", "width"), [(1, 3), (7, 5), (64, 64), (130, 33), (192, 512), (260, 40)])
def test_numbers_and_gradients_are_those_of_float64(positions, width, dtype, same, products):
    query, other = draw(3, positions, width).to(dtype), draw(2, positions, width, seed=1).to(dtype)
    for prior, symmetric in ((symmetric_prior(positions), True), (draw(positions, positions, seed=2), False)):
        inputs = [part.cuda().requires_grad_() for part in (query, other, prior)]
        gallery = inputs[0] if same else inputs[1]
        with float32_products(products):
            best = maxima(inputs[0], gallery, inputs[2], symmetric_prior=symmetric)
        at = _maxima(inputs[0], None if same else gallery, inputs[2], symmetric, True, products)[1]
        wide = (query.double(), (query if same else other).double(), prior.double())
        assert apart(best.detach(), dense_maxima(*wide)) <= 1e-5
        grad = draw(*best.shape, seed=3)
        best.backward(grad.cuda())
        to_query, to_gallery, to_prior = plain.backward(grad.double(), None, at.cpu(), *wide)
        assert apart(inputs[0].grad, to_query + to_gallery if same else to_query) <= LIMITS[dtype]
        assert apart(inputs[2].grad, to_prior) <= 1e-5
        assert same or apart(inputs[1].grad, to_gallery) <= LIMITS[dtype]


@pytest.mark.parametrize("products", ["ieee", "tf32x3"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_where_plain_pytorch_has_it(value, products):
    query = draw(2, 70, 16)
    query[0, 40, 1] = value
    expected = plain.forward(query, query.clone(), None)[0]
    with float32_products(products):
        found = maxima(query.cuda(), query.clone().cuda()).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_bits_are_the_same_each_time():
    source, prior = draw(64, 192, 512).bfloat16().cuda(), symmetric_prior(192).cuda()
    grad, first = draw(64, 64, 2, 192, seed=1).cuda(), None
    for _ in range(20):
        torch.full((64, 64, 2, 192), float("nan"), device="cuda")  # what an entry left out would keep
        leaves = [source.clone().requires_grad_(), prior.clone().requires_grad_()]
        best = maxima(leaves[0], leaves[0], leaves[1], symmetric_prior=True)
        best.backward(grad)
        found = [best.detach(), *(leaf.grad for leaf in leaves)]
        first = found if first is None else first
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, first, strict=True))


def test_the_same_images_and_a_copy_of_them_agree():
    query, prior = draw(16, 192, 512).half().cuda(), symmetric_prior(192).cuda()
    assert apart(maxima(query, query, prior, symmetric_prior=True), maxima(query, query.clone(), prior)) <= 1e-6


def test_offsets_beyond_32_bits():
    images = 2500 if torch.cuda.mem_get_info()[0] > 40 * 2**30 else 700
    many = draw(images, 192, 16).half().cuda()
    best = maxima(many, many.clone())
    assert torch.equal(best[-3:, -3:], maxima(many[-3:], many[-3:].clone()))
    wide = torch.zeros(2**31 // (192 * 512) + 8, 192, 512, dtype=torch.half, device="cuda")
    wide[-2:] = draw(2, 192, 512).half().cuda()
    few = wide[-2:].clone()
    assert torch.equal(maxima(few, wide)[:, -2:], maxima(few, few.clone()))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_another_gpu_than_the_current_one():
    query = draw(3, 70, 16)
    expected = plain.forward(query, query.clone(), None)[0]
    leaf = query.to("cuda:1").requires_grad_()
    with torch.cuda.device(0):
        found = maxima(leaf, leaf)
        found.sum().backward()
    torch.testing.assert_close(found.detach().cpu(), expected, rtol=1e-4, atol=1e-4)
    assert leaf.grad.device == torch.device("cuda:1") and leaf.grad.isfinite().all()


def test_the_kernel_runs_where_the_gpu_has_what_it_needs():
    device = torch.device("cuda")
    expected = torch.cuda.get_device_capability() >= (8, 0) and torch.version.hip is None
    assert (usable_kernel(device) is None) == expected
    assert kernel_name(device) == ("triton" if expected else "plain")


def test_plain_pytorch_on_a_gpu_multiplies_halves_and_sums_in_float32():
    query, gallery = draw(3, 70, 64).half(), draw(2, 70, 64, seed=1).half()
    found = plain.forward(query.cuda(), gallery.cuda(), None)[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.cpu(), plain.forward(query, gallery, None)[0], rtol=1e-4, atol=1e-4)


def test_operators_are_registered_as_pytorch_demands():
    query, gallery = (draw(2, 7, 16, seed=n).cuda().requires_grad_() for n in (0, 1))
    prior = symmetric_prior(7).cuda().requires_grad_()
    torch.library.opcheck(_maxima, (query, gallery, prior, False, True, "ieee"))
    torch.library.opcheck(_maxima, (query, None, prior, True, True, "tf32x3"))
