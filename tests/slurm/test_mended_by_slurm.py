"""On a real SLURM: a run that is killed for memory comes home with more of it; a prolog that fails is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign import Campaign, empty_queue, shell
from waiting import wait_for

from bench.journal.starts import read_starts

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]

GREEDY = """
from variants import vit
class Greedy(vit.ViT):
    "Holds memory in training that a job of 1 GiB does not have, and one of 1.5 GiB has."
    def match(self, query, gallery):
        if self.training and not hasattr(self, "held"):
            self.held = bytearray(b"x") * (700 * 2**20)
        return super().match(query, gallery)
"""


def test_a_run_that_is_killed_for_memory_comes_home_on_its_second_start(campaign_of, tmp_path):
    (tmp_path / "greedy.py").write_text(GREEDY)
    campaign: Campaign = campaign_of("--variants", str(tmp_path / "greedy.py"), "--seeds", "1")
    campaign.submit()
    [folder] = wait_for("its start", campaign.heartbeats)
    wait_for("the end", lambda: [start.how for start in read_starts(folder)][1:] not in ([], [""]))
    first, second = read_starts(folder)
    assert (first.how, first.memory_bytes) == ("memory", 2**30) and "than the 1.0 GiB that its job had" in first.reason
    assert (second.how, second.memory_bytes) == ("done", 3 * 2**29)
    assert shell(f"squeue --noheader --states=all --jobs={second.job} --format=%m").strip() in ("1536M", "1.50G")


@pytest.fixture
def failing_prolog(tmp_path) -> Iterator[None]:
    """Every job's prolog fails, until the node is put to use again."""
    empty_queue()
    (tmp_path / "prolog").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "prolog").chmod(0o755)
    configuration = Path("/etc/slurm/slurm.conf")
    before = configuration.read_text()
    configuration.write_text(f"{before}Prolog={tmp_path}/prolog\n")
    shell("scontrol reconfigure")
    yield
    configuration.write_text(before)
    shell("scontrol reconfigure")
    shell("scontrol update NodeName=$(hostname -s) State=RESUME")


def test_a_prolog_that_fails_is_told_with_what_to_do(campaign_of, failing_prolog):
    campaign: Campaign = campaign_of("--variants", "cosine", "--seeds", "1")
    campaign.submit()
    told = wait_for("SLURM to hold the job", lambda: (said := campaign.status()).count("waits in vain: ") and said, 60)
    assert "1 queued" in told and "SLURM: launch failed requeued held): its node could not start it" in told
    assert "is out of use (SLURM: Prolog error)" in told
    assert "1 cancelled" in campaign.call("cancel")
