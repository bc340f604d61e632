"""The counter of kernels, bytes and waits, on small cases counted by hand."""

from __future__ import annotations

import contextlib

import pytest
import torch
from launches import Launches, mixed_precision, stored_bytes
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.nn import functional as F

from variants.kernels import maxima


@pytest.fixture(params=["meta", "cuda"])
def device(request):
    with FakeTensorMode():
        yield request.param


def test_views_and_fresh_memory_launch_nothing(device):
    x = torch.empty(4, 6, device=device)
    with Launches() as counted:
        x.view(3, 8).T[1:].unsqueeze(0).expand(2, -1, -1).detach(), x.split(2), x.unbind(), torch.empty_like(x)
        assert x.shape == (4, 6) and x.is_contiguous()
    assert counted.launches == counted.bytes == 0 and not counted.waits


def test_kernels_read_and_write_their_tensors_once(device):
    x, y = torch.empty(4, 6, device=device), torch.empty(6, device=device)
    with Launches() as counted:
        x + y.expand(4, 6)  # reads 24 and 6, writes 24
        x.mul_(2)  # reads and writes 24
        x.zero_()  # writes 24
        x.T.contiguous()  # reads and writes 24
    assert counted.operations == {"aten::add": 1, "aten::mul_": 1, "aten::zero_": 1, "aten::clone": 1}
    assert counted.bytes == 4 * (54 + 48 + 24 + 48)


def test_lists_of_tensors_are_taken_together_where_they_are_alike(device):
    many = [torch.empty(size, device=device) for size in (4, 6, 8)]
    rows, halves = [x.expand(2, -1) for x in many], [x.half() for x in many]
    for others, launches in ((2.0, 1), (many, 1), (rows, 3), (halves, 3)):
        with Launches() as counted:
            torch._foreach_mul(many, others)
        assert counted.launches == launches


def test_backward_passes_are_counted():
    weight, x = torch.empty(5, 3, device="meta", requires_grad=True), torch.empty(7, 3, device="meta")
    with Launches() as counted:
        F.linear(x, weight).relu().sum().backward()
    names = ("mm", "relu", "sum", "ones_like", "threshold_backward")
    assert counted.operations == {f"aten::{name}": 1 + (name == "mm") for name in names}


def test_what_needs_values_makes_the_host_wait(device):
    x = torch.empty(4, device=device)
    needing = [lambda: x.sum().item(), lambda: x.nonzero(), lambda: x[x > 0], lambda: x.to("cpu")]
    refusals = (DataDependentOutputException, DynamicOutputShapeException, NotImplementedError, RuntimeError)
    with Launches() as counted:
        for n, operation in enumerate(needing, start=1):
            with contextlib.suppress(*refusals):
                operation()
            assert counted.waits.total() == n
        torch.where(x > 0, x, 0).to(device), x[torch.zeros(2, dtype=torch.long, device=device)]
    assert counted.waits.total() == len(needing)


def test_operations_of_our_own_count_as_their_kernels():
    with FakeTensorMode():
        images = torch.empty(3, 4, 8)
        with Launches({"pairbench::maxima": 2}) as counted:
            maxima(images, images)
    assert counted.launches == 2


def test_mixed_precision_needs_no_gpu():
    with FakeTensorMode():
        x = torch.empty(4, 4, device="cuda")
        with mixed_precision("cuda", torch.bfloat16):
            assert (x @ x).dtype == torch.bfloat16
        assert (x @ x).dtype == torch.float32


def test_an_expanded_tensor_is_as_large_as_what_is_stored():
    assert stored_bytes(torch.empty(1, 5).expand(9, 5)) == 20 and stored_bytes(torch.empty(0, 5)) == 0
