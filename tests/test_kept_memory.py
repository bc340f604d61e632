"""A run on a CPU uses freed memory again without the system's help, and gives it back between what it measures."""

from __future__ import annotations

import sys

import apart
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told of Linux alone")

BEGIN = """
import resource, torch
from bench.computing import compute_as_runs_do
from bench.stopwatch import peak_bytes, reset_peak
cpu = torch.device("cpu")
def pages():
    return [int(word) for word in open("/proc/self/statm").read().split()[:2]]
def step():
    torch.ones(2**24)
if as_a_run:
    compute_as_runs_do(cpu, 1)
for _ in range(3):
    step()
"""

FAULTS = """
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(4):
    step()
print(faults() - before)
"""

GIVEN_BACK = """
before = peak_bytes(cpu)
reset_peak(cpu)
print(before - peak_bytes(cpu))
"""

VERY_LARGE = """
before, _ = pages()
torch.empty(2**28)
after, _ = pages()
print((after - before) * resource.getpagesize())
"""


def told(program: str, as_a_run: bool = True) -> int:
    return int(apart.code(BEGIN + program, {"as_a_run": as_a_run}))


def test_what_a_step_frees_is_not_asked_for_again_by_the_next():
    assert told(FAULTS) * 10 < told(FAULTS, as_a_run=False)


def test_a_new_measurement_of_the_peak_begins_without_what_was_freed():
    assert told(GIVEN_BACK) > 2**25


def test_a_very_large_buffer_is_given_back_as_it_is_freed():
    assert told(VERY_LARGE) < 2**29
