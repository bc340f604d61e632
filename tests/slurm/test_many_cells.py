"""Many tiny cells on a real SLURM: all come home, and `bench status` answers within two seconds all the while."""

from __future__ import annotations

import os
import resource
import statistics
import time

import pytest
from campaign import Campaign, in_a_process_of_its_own

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]

CELLS = int(os.environ.get("PAIRBENCH_CELLS", "6"))
"""In the suite one array of them; PAIRBENCH_CELLS=200 is a campaign of half an hour or less (CONTRIBUTING.md)."""
ANSWER_SECONDS = 2.0
HOURS = 2.0


def answer(campaign: Campaign) -> tuple[str, float, float]:
    """What `bench status` says, and its seconds by the clock and of the CPU."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    told = in_a_process_of_its_own(campaign.words("status")).stdout
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return told, seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_all_come_home_and_status_answers_at_once_all_the_while(campaign_of):
    campaign = campaign_of("--variants", "cosine", "--seeds", str(CELLS))
    began = time.monotonic()
    assert f"submitted {CELLS} runs" in campaign.submit()
    answers, told = [], ""
    while f"{CELLS} of {CELLS} done" not in told:
        assert time.monotonic() - began < HOURS * 3600, told
        told, *seconds = answer(campaign)
        answers.append(seconds)
        assert "failed" not in told and "cancelled" not in told and "interrupted" not in told, told
        time.sleep(max(1.0, CELLS / 20))
    by_clock, of_cpu = (sorted(column) for column in zip(*answers, strict=True))
    print(
        f"{CELLS} cells in {time.monotonic() - began:.0f} s; {len(answers)} answers of `bench status`, in seconds by "
        f"the clock: median {statistics.median(by_clock):.2f}, longest {by_clock[-1]:.2f}; of the CPU: {of_cpu[-1]:.2f}"
    )
    assert by_clock[-1] < ANSWER_SECONDS
    assert len(campaign.records()) == CELLS
