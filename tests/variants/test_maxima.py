"""The matching operator: every path against dense similarities, its gradients, and what it promises beside numbers."""

from __future__ import annotations

import re

import apart
import pytest
import torch
from apart import Apart
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from variants.kernels import maxima, maxima_products, native, plain
from variants.kernels.maxima import _maxima

SIZES = [(3, 4, 7, 5), (2, 5, 45, 33), (1, 2, 1, 3), (4, 18, 97, 20), (2, 2, 64, 130)]
"""(Q, G, T, d): no blocks' multiples, more gallery images than a thread takes at a time, one position."""


@pytest.fixture
def kernel(monkeypatch):
    """Choose a path by its name, as PAIRBENCH_KERNEL does."""

    def choose(name: str) -> None:
        monkeypatch.setenv("PAIRBENCH_KERNEL", name)
        native.library.cache_clear()

    yield choose
    native.library.cache_clear()


@pytest.fixture(params=["cpu", "plain"])
def path(request, kernel):
    kernel(request.param)
    return request.param


def dense(query: Tensor, gallery: Tensor, prior: Tensor | None) -> Tensor:
    similarity = torch.einsum("qtd,gsd->qgts", query, gallery)
    if prior is not None:
        similarity = similarity * prior
    return torch.stack((similarity.max(dim=3).values, similarity.max(dim=2).values), dim=2)


def draw(size: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    queries, images, positions, width = size
    source = torch.Generator().manual_seed(sum(size))
    query = torch.randn(queries, positions, width, generator=source, dtype=torch.float64)
    gallery = torch.randn(images, positions, width, generator=source, dtype=torch.float64)
    prior = torch.randn(positions, positions, generator=source, dtype=torch.float64)
    return query.to(dtype), gallery.to(dtype), prior.to(dtype)


def priors(prior: Tensor) -> dict[str, Tensor | None]:
    return {"none": None, "symmetric": (prior + prior.T).sigmoid(), "skew": prior.sigmoid(), "negative": prior}


def results(function, query: Tensor, gallery: Tensor | None, prior: Tensor | None) -> list[Tensor]:
    """The maxima and the gradients of all inputs for a fixed cotangent; gallery None: the query itself."""
    inputs = [None if part is None else part.detach().clone().requires_grad_() for part in (query, gallery, prior)]
    best = function(inputs[0], inputs[0] if gallery is None else inputs[1], inputs[2])
    cotangent = torch.linspace(-1, 2, best.numel(), dtype=torch.float64).view(best.shape).to(best.dtype)
    (best * cotangent).sum().backward()
    return [best.detach(), *(part.grad for part in inputs if part is not None)]


@pytest.mark.parametrize("weight", ["none", "symmetric", "skew", "negative"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
def test_values_and_gradients_are_those_of_dense_similarities(path, size, weight, same):
    for dtype, tolerance in ((torch.float32, 2e-4), (torch.float64, 1e-12)):
        query, gallery, prior = draw(size, dtype)
        inputs = (query, None if same else gallery, priors(prior)[weight])
        for found, expected in zip(results(maxima, *inputs), results(dense, *inputs), strict=True):
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("weight", ["none", "symmetric", "skew"])
def test_the_same_tensor_and_a_copy_give_the_same_bits(kernel, weight):
    kernel("cpu")
    query, _, prior = draw((5, 1, 45, 33))
    prior = priors(prior)[weight]
    assert torch.equal(maxima(query, query, prior), maxima(query, query.clone(), prior))


@pytest.mark.parametrize("weight", ["none", "symmetric", "skew"])
@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
def test_gradients_by_differences(path, weight, same):
    query, gallery, prior = draw((2, 3, 5, 3), torch.float64)
    chosen = priors(prior)[weight]
    inputs = [query.requires_grad_()] + ([] if same else [gallery.requires_grad_()])
    inputs += [] if chosen is None else [chosen.detach().requires_grad_()]

    def function(first: Tensor, *rest: Tensor) -> Tensor:
        rest = (first, *rest) if same else rest
        return maxima(first, rest[0], rest[1] if len(rest) > 1 else None)

    assert torch.autograd.gradcheck(function, inputs)


def test_images_that_lie_apart_are_taken_as_they_are(path):
    query, gallery, prior = draw((4, 3, 45, 33))
    spread = torch.stack((query, query), dim=1)[:, 0]
    turned = gallery.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(maxima(spread, turned, prior), maxima(query, gallery, prior))
    source, other = torch.stack((query, query), dim=1).requires_grad_(), gallery.clone().requires_grad_()
    best = maxima(source[:, 0], other, prior)
    best.square().sum().backward()
    plain_query = query.clone().requires_grad_()
    maxima(plain_query, gallery, prior).square().sum().backward()
    assert torch.equal(source.grad[:, 0], plain_query.grad)


def test_the_first_of_equals_gets_the_gradient(path):
    query = torch.ones(1, 40, 2, requires_grad=True)
    gallery = torch.ones(1, 40, 2, requires_grad=True)
    best = maxima(query, gallery)
    best[0, 0, 0].sum().backward()
    assert gallery.grad[0, 0].tolist() == [40, 40] and not gallery.grad[0, 1:].any()
    query.grad = gallery.grad = None
    maxima(query, gallery)[0, 0, 1].sum().backward()
    assert query.grad[0, 0].tolist() == [40, 40] and not query.grad[0, 1:].any()


@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
def test_nan_never_vanishes(path, same):
    query, gallery, prior = draw((2, 3, 45, 20))
    query[1, 17, 3] = float("nan")
    gallery = query if same else gallery
    for weight in priors(prior).values():
        found, expected = maxima(query, gallery, weight), dense(query, gallery, weight)
        assert torch.equal(found.isnan(), expected.isnan()) and found.isnan().any() and not found.isnan().all()


def test_infinite_similarities_are_kept(path):
    query, gallery, prior = draw((1, 1, 5, 1))
    query, gallery = torch.full_like(query, float("inf")), -torch.ones_like(gallery)
    assert torch.equal(maxima(query, gallery, None), torch.full((1, 1, 2, 5), -float("inf")))
    assert torch.equal(maxima(-query, gallery, prior.sigmoid()), torch.full((1, 1, 2, 5), float("inf")))


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
def test_short_formats_are_summed_in_float32(path, dtype, rounding, same):
    query, gallery, prior = draw((2, 3, 45, 257), dtype)
    inputs = (query, None if same else gallery, prior.float().sigmoid())
    found, expected = results(maxima, *inputs), results(dense, *(None if x is None else x.float() for x in inputs))
    assert found[1].dtype == dtype and found[0].dtype == found[-1].dtype == torch.float32
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        assert (ours.float() - theirs).norm() <= 4 * rounding * theirs.norm()


@pytest.mark.parametrize("weight", ["none", "symmetric", "skew"])
@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
def test_bits_do_not_depend_on_the_number_of_threads(kernel, weight, same):
    kernel("cpu")
    query, gallery, prior = draw((70, 9, 20, 24))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(results(maxima, query, None if same else gallery, priors(prior)[weight]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize(
    ("query", "gallery", "prior", "problem"),
    [
        ((0, 4, 3), (2, 4, 3), None, r"must not be empty, got query \(0, 4, 3\), gallery \(2, 4, 3\)"),
        ((2, 4, 3), (0, 4, 3), None, r"must not be empty, got .*gallery \(0, 4, 3\)"),
        ((2, 4, 3), (2, 5, 3), None, r"query \(2, 4, 3\), gallery \(2, 5, 3\)"),
        ((2, 4, 3), (2, 4, 2), None, r"query \(2, 4, 3\), gallery \(2, 4, 2\)"),
        ((4, 3), (2, 4, 3), None, r"query \(4, 3\)"),
        ((2, 4, 3), (2, 4, 3), (4, 5), r"prior must be \[T, T\] = \(4, 4\), got \(4, 5\)"),
        ((1, 2**15, 1), (1, 2**15, 1), None, "at most 32767 positions"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_shapes(query, gallery, prior, problem):
    with pytest.raises(ValueError, match=problem):
        maxima(torch.ones(query), torch.ones(gallery), None if prior is None else torch.ones(prior))


def test_dtypes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got torch.float32 and torch.float64"):
        maxima(torch.ones(1, 2, 3), torch.ones(1, 2, 3).double())


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["cpu", "plain"])
def test_similarities_of_all_pairs_are_never_held(choice):
    """They would be 236 MB here; blocks, positions and gradients are far less."""
    code = """
import ctypes, torch
from pathlib import Path
from variants.kernels import maxima
ctypes.CDLL(None).mallopt(-3, 1_000_000)  # M_MMAP_THRESHOLD: what is freed is given back
def peak(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
def step(count, same):
    query = torch.randn(count, 192, 8, requires_grad=True)
    maxima(query, query if same else query * 1, torch.rand(192, 192, requires_grad=True)).sum().backward()
step(2, False)
before = peak()
step(40, False), step(40, True)
print(peak() - before)
"""
    assert int(apart.code(code, PAIRBENCH_KERNEL=choice)) < 60
    cpu = torch.device("cpu")
    assert plain.block_images(192, 4, cpu) ** 2 * 192**2 * 4 <= plain.BLOCK_BYTES
    assert plain.block_images(30000, 4, cpu) == 1


def test_plain_pytorch_does_half_of_the_products_for_a_tensor_with_itself(monkeypatch):
    monkeypatch.setattr(plain, "BLOCK_BYTES", 1)  # pair by pair
    query = torch.randn(6, 8, 5)
    with FlopCounterMode(display=False) as counted:
        plain.forward(query, query, None)
    assert counted.get_total_flops() == maxima_products(6, 6, 8, 5, same=True)[0].flop() == 21 * 2 * 8 * 8 * 5


def test_without_a_compiler_plain_pytorch_runs_and_says_so(monkeypatch, tmp_path, kernel, caplog):
    kernel("")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    query, gallery, prior = draw((2, 3, 7, 5))
    for compiler, reason in (("/nowhere/c++", "no C\\+\\+ compiler: /nowhere/c\\+\\+ not found"), ("false", "false")):
        monkeypatch.setenv("CXX", compiler)
        native.library.cache_clear()
        caplog.clear()
        found = maxima(query, gallery, prior)
        assert re.fullmatch(f"matching runs in plain PyTorch, several times slower.*{reason}.*", caplog.messages[0])
        torch.testing.assert_close(found, dense(query, gallery, prior))
    kernel("cpu")
    with pytest.raises(RuntimeError, match="cannot be built"):
        maxima(query, gallery, prior)
    kernel("gpu")
    with pytest.raises(ValueError, match="PAIRBENCH_KERNEL must be cpu or plain, not 'gpu'"):
        maxima(query, gallery, prior)


@pytest.mark.slow
def test_several_processes_may_build_at_once(tmp_path):
    variables = {"TORCH_EXTENSIONS_DIR": str(tmp_path), "PAIRBENCH_KERNEL": "cpu"}
    code = "from variants.kernels import native; print(native.library() is not None)"
    started = [Apart(apart.execute, code, {}, **variables) for _ in range(3)]
    assert [process.wait().out for process in started] == ["True\n"] * 3
    assert sorted(path.suffix for path in tmp_path.rglob("*.*")) == [".lock", ".so"]


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False], ids=["same", "two"])
def test_torch_compile_keeps_it_whole(same):
    query, gallery, prior = draw((2, 3, 7, 5))
    compiled = torch.compile(maxima, backend="aot_eager", fullgraph=True)
    inputs = (query, None if same else gallery, prior)
    for found, expected in zip(results(compiled, *inputs), results(maxima, *inputs), strict=True):
        assert torch.equal(found, expected)
    leaves = (query.requires_grad_(), None if same else gallery, prior.requires_grad_())
    torch.library.opcheck(_maxima, (*leaves, False, True, "ieee"))
    with torch.no_grad():
        torch.library.opcheck(_maxima, (*(None if x is None else x.detach() for x in leaves), True, False, "tf32x3"))


def test_autocast_casts_the_images_and_keeps_maxima_as_they_were_summed(path):
    query, gallery, prior = draw((2, 3, 7, 5))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            found = results(maxima, query, gallery, prior.sigmoid())
            twice = maxima(query, query)
        assert all(part.dtype == torch.float32 for part in (twice, *found))
        expected = maxima(query.to(dtype), gallery.to(dtype), prior.sigmoid())
        assert torch.equal(found[0], expected)
