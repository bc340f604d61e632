"""MLPs of several levels, whose norms are folded together: the numbers of each by itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from variants.kernels import Mlp, normed_mlps


def levels(normed_before: bool, momentum: float | None) -> nn.ModuleList:
    torch.manual_seed(8)
    found = nn.ModuleList()
    for _ in range(3):
        before = nn.BatchNorm1d(1, momentum=momentum)
        norm = nn.BatchNorm1d(12, momentum=momentum)
        for part in (before, norm):
            for values in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                values.uniform_(0.5, 1.5)
        found.append(nn.ModuleList((before, nn.Linear(7, 12), norm, nn.Linear(12, 1))))
        found[-1].skipped = not normed_before
    return found


def as_mlp(parts: nn.ModuleList) -> Mlp:
    return Mlp(None if parts.skipped else parts[0], *parts[1:])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("normed_before", "momentum", "counted"), [(True, 0.1, True), (False, 0.1, False), (True, None, True)]
)
def test_each_has_the_numbers_that_it_has_alone(training, normed_before, momentum, counted):
    together = levels(normed_before, momentum).train(training)
    alone = copy.deepcopy(together)
    tables = [2 + torch.randn(9, 7) for _ in together]
    counts = torch.randint(1, 3, (9,)) if counted else None
    results = []
    for parts, groups in ((together, [[0, 1, 2]]), (alone, [[0], [1], [2]])):
        rows = [table.clone().requires_grad_() for table in tables]
        found: list[Tensor] = []
        for group in groups:
            found += normed_mlps((rows[n] for n in group), counts, [as_mlp(parts[n]) for n in group])
        sum(part.sin().sum() for part in found).backward()
        gradients = [parameter.grad for parameter in parts.parameters() if parameter.grad is not None]
        results.append([*found, *(part.grad for part in rows), *gradients, *parts.buffers()])
    assert all(torch.equal(*both) for both in zip(*results, strict=True))


def test_in_evaluation_mode_rows_are_asked_for_one_level_after_the_other():
    parts, asked = levels(True, 0.1).eval(), []

    def rows():
        for n in range(3):
            asked.append(n)
            yield torch.randn(4, 7)

    for done, _ in enumerate(normed_mlps(rows(), None, [as_mlp(part) for part in parts]), start=1):
        assert len(asked) == done
    assert done == 3
