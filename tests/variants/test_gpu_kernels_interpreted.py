"""The matching operator's GPU kernels in Triton's interpreter: the numbers of plain PyTorch.

Images are whole numbers and priors quarters, so that every sum is exact, equals are many, and results must agree to the
last bit. The interpreter multiplies bfloat16 as integers; float16 stands for both half dtypes.
"""

from __future__ import annotations

import pytest
from fresh_python import run

pytest.importorskip("triton")
pytestmark = pytest.mark.slow

DRAWN = """
import torch
from variants.kernels import maxima_triton, plain

source = torch.Generator().manual_seed(0)

def whole(*shape, most=2):
    return torch.randint(-most, most + 1, shape, generator=source).float()

def drawn(Q, G, T, d, dtype, same, kind):
    query = whole(Q, T, d).to(dtype)
    embedding = whole(T, T, most=8) / 4
    prior = {"none": None, "symmetric": (embedding + embedding.T) / 2, "skew": embedding, "zero": embedding * 0}[kind]
    return query, query if same else whole(G, T, d).to(dtype), prior
"""

FORWARD = """
def check(inputs, symmetric):
    found, expected = maxima_triton.forward(*inputs, symmetric), plain.forward(*inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.nan_to_num(7, 8, 9), theirs.nan_to_num(7, 8, 9))
    best, at = maxima_triton.forward(*inputs, symmetric, positions=False)
    assert at is None and torch.equal(best.nan_to_num(7, 8, 9), found[0].nan_to_num(7, 8, 9))
"""

BACKWARD = """
def check(inputs, symmetric):
    query, gallery, prior = inputs
    best, at = plain.forward(*inputs)
    grad = whole(*best.shape)
    found = list(maxima_triton.backward(grad, best, at, *inputs, symmetric))
    wide = [None if part is None else part.double() for part in inputs]
    expected = list(plain.backward(grad.double(), None, at, *wide))
    if gallery is query:
        assert (found[1] is None) == (symmetric or prior is None)
        found[:2] = [found[0] if found[1] is None else found[0] + found[1]]
        expected[:2] = [expected[0] + expected[1]]
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            rounded = theirs.to(query.dtype) if ours.dtype == query.dtype else theirs.float()
            torch.testing.assert_close(ours, rounded, rtol=TOLERANCE, atol=0)
"""

ALL = [(True, "symmetric"), (True, "skew"), (False, "skew"), (False, "none"), (True, "none")]

FORWARD_CASES = {
    "less than a tile": [((2, 3, 1, 3, "float32"), ALL), ((2, 3, 7, 5, "float16"), ALL)],
    "about a tile": [
        ((1, 2, 63, 17, "float16"), [(False, "none")]),
        ((2, 2, 64, 32, "float16"), [(True, "symmetric")]),
    ],
    "tiles of one column": [((2, 2, 65, 40, "float32"), [(True, "symmetric")])],
    "a group of tiles": [
        ((1, 1, 130, 40, "float16"), [(False, "skew")]),
        ((1, 1, 192, 16, "float16"), [(True, "none")]),
    ],
    "groups of tiles": [
        ((1, 1, 200, 16, "float16"), [(False, "skew")]),
        ((1, 1, 200, 16, "float32"), [(True, "skew")]),
    ],
}
"""(Q, G, T, d, dtype) and (same, prior). Float32 has one tile a column of a group, float16 as many as rows."""


@pytest.mark.parametrize("sizes", FORWARD_CASES)
def test_maxima_and_positions_are_those_of_plain_pytorch(sizes):
    code = f"""
for (Q, G, T, d, dtype), cases in {FORWARD_CASES[sizes]}:
    for same, kind in cases:
        check(drawn(Q, G, T, d, getattr(torch, dtype), same, kind), kind == "symmetric")
print("agrees")
"""
    assert run(DRAWN + FORWARD + code, TRITON_INTERPRET="1") == "agrees\n"


def test_what_is_not_finite_is_kept_and_found_where_plain_pytorch_finds_it():
    code = """
for T, values in ((20, "nan inf -inf"), (70, "nan")):
    for value in values.split():
        for same, kind in ((True, "symmetric"), (False, "skew")):
            query, gallery, prior = drawn(1, 1, T, 3, torch.float16, same, kind)
            query[0, T - 10, 1] = float(value)
            check((query, gallery, prior), kind == "symmetric")
print("agrees")
"""
    assert run(DRAWN + FORWARD + code, TRITON_INTERPRET="1") == "agrees\n"


@pytest.mark.parametrize(
    "size", [(2, 3, 1, 3, "float32"), (2, 3, 7, 5, "float32"), (2, 1, 65, 20, "float16"), (1, 1, 200, 40, "float32")]
)
def test_gradients_are_those_of_plain_pytorch_in_float64(size):
    """Quotients by a prior's entry may be rounded; all else is exact."""
    code = f"""
TOLERANCE = 1e-6
Q, G, T, d, dtype = {size}
for same, kind in ((True, "symmetric"), (True, "skew"), (False, "skew"), (False, "none"), (True, "zero")):
    check(drawn(Q, G, T, d, getattr(torch, dtype), same, kind), kind == "symmetric")
print("agrees")
"""
    assert run(DRAWN + BACKWARD + code, TRITON_INTERPRET="1") == "agrees\n"
