"""How long a whole test takes under a plan, projected from what a tile of its work was measured to take."""

from __future__ import annotations

from dataclasses import dataclass

from bench.testing.memory_budget import ScoringPlan


@dataclass(frozen=True)
class TestRates:
    """What was measured on the machine in question, in seconds."""

    __test__ = False

    pair: float
    """A pair in a block of `match`, of the size that the plan's `block_bytes` give."""
    image: float
    """An image in a batch of the plan's: picked, brought to the device, encoded."""
    ranked_query: float
    """A query whose scores are there, on one thread."""
    disk_byte: float = 0.0
    """A byte of representations written to disk, or read from it."""


@dataclass(frozen=True)
class TestSeconds:
    """Seconds by phase of a test, each by itself, and what they come to together."""

    __test__ = False

    encoding: float
    matching: float
    ranking: float
    disk: float
    total: float
    """Less than the sum where ranking goes on beside matching."""


def project_test(plan: ScoringPlan, rates: TestRates, symmetric: bool = True) -> TestSeconds:
    """The seconds of a test with the whole of a plan's work.

    `symmetric` is the head's: a test both ways then scores each pair once. On a GPU chunks of queries are ranked while
    the next are matched, but for the last.
    """
    work = plan.work
    pairs = work.queries * work.gallery * (2 if work.both_ways and not symmetric else 1)
    encoding, matching = plan.encoded_images * rates.image, pairs * rates.pair
    ranking, disk = work.queries * rates.ranked_query, plan.disk_bytes * rates.disk_byte
    before = encoding + matching + disk
    if plan.buffers == 1:
        return TestSeconds(encoding, matching, ranking, disk, before + ranking)
    last = ranking / plan.chunks
    # The longer of both sets the pace, once the first chunk is matched and until the last is ranked.
    total = max(before + last, before / plan.chunks + ranking)
    return TestSeconds(encoding, matching, ranking, disk, total)
