"""On a real SLURM: a controller that does not answer for a while, and an answer to sbatch that is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from campaign import Campaign, empty_queue, in_a_process_of_its_own, shell
from waiting import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]

STOPPED_SECONDS = 20
LOSING = """#!/bin/sh
# The real sbatch, whose first answer is lost on its way.
{real} "$@" > {folder}/answer || exit 1
[ -e {folder}/lost ] && exec cat {folder}/answer
touch {folder}/lost
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
exit 1
"""


@contextmanager
def stopped_controller() -> Iterator[None]:
    """The controller hangs for a while, and goes on by itself."""
    pid = int(Path("/var/lib/pairbench-cluster/slurmctld.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    waker = subprocess.Popen(["sh", "-c", f"sleep {STOPPED_SECONDS}; kill -CONT {pid}"])
    try:
        yield
    finally:
        waker.wait()


def test_a_controller_that_hangs_for_twenty_seconds_is_no_error_to_run_or_status(campaign_of):
    empty_queue()
    waiting, campaign = (campaign_of("--variants", row, "--seeds", "1") for row in ("cosine", "ViT"))
    waiting.submit()
    with ThreadPoolExecutor(1) as pool, stopped_controller():
        began = time.monotonic()
        status = pool.submit(in_a_process_of_its_own, waiting.words("status"))
        assert "submitted 1 runs" in campaign.submit()
        assert time.monotonic() - began > STOPPED_SECONDS / 2
        told = status.result().stdout
        assert "failed" not in told and "of 1 done" in told
    assert jobs_of(campaign) == 1
    wait_for("the ends", lambda: waiting.states() == campaign.states() == ["done"])


def test_a_submission_whose_answer_is_lost_runs_once(campaign_of, tmp_path):
    empty_queue()
    (tmp_path / "sbatch").write_text(LOSING.format(real=shell("command -v sbatch").strip(), folder=tmp_path))
    (tmp_path / "sbatch").chmod(0o755)
    campaign = campaign_of("--variants", "cosine", "--seeds", "2")
    done = in_a_process_of_its_own(campaign.words_to_submit(), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "looking whether the jobs have arrived" in done.stderr
    assert jobs_of(campaign) == 2
    wait_for("the ends", lambda: campaign.states() == ["done", "done"])
    assert all(record.provenance.segments == 1 for record in campaign.records().values())


def jobs_of(campaign: Campaign) -> int:
    """Jobs that SLURM has, or lately had, of a campaign's submissions."""
    names = [path.name for path in (campaign.results / "submissions").iterdir() if path.is_dir()]
    told = shell("squeue --states=all --array --noheader --format=%j").split()
    return sum(name.rpartition("-")[0] in names for name in told)
