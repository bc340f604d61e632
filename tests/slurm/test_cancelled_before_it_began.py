"""On a real SLURM: jobs that are cancelled while they wait are in its accounts when its queue has forgotten them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from campaign import empty_queue, shell
from waiting import wait_for

from bench.running.jobs import read_job
from bench.running.ledger import Ledger
from slurm import queue

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]


def test_an_array_that_somebody_else_cancels_while_it_waits_is_cancelled(campaign_of):
    empty_queue()
    campaign = campaign_of("--variants", "cosine", "--seeds", "3")
    campaign.submit("--resource", "sbatch=--hold")
    folders = sorted(campaign.results.glob("runs/*"))
    jobs = [read_job(folder) for folder in folders]
    shell(f"scancel --name={jobs[0].name}")
    wait_for("the accounts", lambda: len(queue.ends(jobs)) == 3, 30)
    forgetful = SimpleNamespace(queue=dict, ends=queue.ends)
    states = [Ledger(campaign.results, lambda: forgetful).state_of_folder(folder) for folder in folders]
    assert [(state.kind, state.reason) for state in states] == [("cancelled", "")] * 3
