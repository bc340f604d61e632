"""A whole table comes home from a real SLURM, whatever happens: preemption, a time limit, a killed process."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from campaign import Campaign, in_a_process_of_its_own, shell
from waiting import wait_for

from bench.journal.heartbeat import read_heartbeat
from bench.journal.record import Record
from bench.running.jobs import Job, job_logs, read_job

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]


def results_of(records: dict[str, Record]) -> dict[str, list]:
    return {
        cell: [
            record.weights_hash,
            *((t.test, t.state, t.query_index, t.first_rank, t.average_precision) for t in record.tests),
        ]
        for cell, record in records.items()
    }


# Long enough that a cell can be met in the middle of training.
TABLE = ("--variants", "all", "--train", "msmt", "--seeds", "1", "--set", "training.epochs=30")
ROWS = 9
MOST_IN_AN_ARRAY = 4
"""The development cluster allows no more."""


@dataclass
class Story:
    """What was seen while the table was run."""

    submitted: str = ""
    again: str = ""
    jobs: list[Job] = field(default_factory=list)
    preempted: list[str] = field(default_factory=list)
    preempted_status: str = ""
    killed: str = ""
    stopped: str = ""
    timed_out: str = ""
    timed_out_status: str = ""


@pytest.fixture(scope="module")
def table(campaign_of) -> tuple[Campaign, Story]:
    """All of Table 2 on tiny data: preempted once, killed once, out of time once, and come home."""
    campaign, story = campaign_of(*TABLE), Story()
    file = campaign.results / "resources.yaml"
    # Told to leave 20 s (SLURM looks every half a minute, so up to 50 s) before a minute is over.
    file.write_text('heads: {vit: {time: "1", signal_seconds: 20}}')
    story.submitted = in_a_process_of_its_own(campaign.words_to_submit("--resources", str(file))).stdout
    story.again = campaign.submit("--resources", str(file))
    story.jobs = [read_job(folder) for folder in campaign.results.glob("runs/*")]

    # Both stand still once they are in training, or the first would be through before the second is there.
    held = hold(campaign, 2)
    shell("sbatch --partition=high --ntasks=2 --output=/dev/null --wrap='sleep 5'")
    go_on(held)
    wait_for("preempted cells", campaign.preempted)
    story.preempted_status = status_with(campaign, "preempted, ")
    story.preempted = campaign.preempted()

    # A run that stalls: its time is up before it gets further.
    stalled = wait_for("a cell to stall", lambda: [at for at in campaign.training() if at.name.startswith("vit-")])[0]
    pid = read_heartbeat(stalled).pid
    os.kill(pid, signal.SIGSTOP)
    story.stopped = stalled.name

    victim = wait_for("a cell to kill", lambda: [cell for cell in campaign.training() if cell != stalled])[0]
    os.kill(read_heartbeat(victim).pid, signal.SIGKILL)
    story.killed = victim.name

    wait_for("the time-out", lambda: wake(pid) or read_heartbeat(stalled).state == "timed out", 120)
    story.timed_out = read_heartbeat(stalled).reason
    # It says so before it is back in the queue.
    story.timed_out_status = status_with(campaign, "queued, epoch")
    wait_for("the table", lambda: campaign.states().count("done") == ROWS, 420)
    return campaign, story


def status_with(campaign: Campaign, words: str) -> str:
    """The first status that has these words."""
    return wait_for(f"a status with {words}", lambda: words in (told := campaign.status()) and told)


def hold(campaign: Campaign, count: int) -> list[int]:
    """Stop as many cells in the middle of training; returns the numbers of their processes."""
    held: list[int] = []

    def enough() -> bool:
        for folder in campaign.training():
            pid = read_heartbeat(folder).pid
            if pid not in held:
                os.kill(pid, signal.SIGSTOP)
                held.append(pid)
        return len(held) >= count

    wait_for(f"{count} cells in training", enough)
    return held


def go_on(held: list[int]) -> None:
    for pid in held:
        os.kill(pid, signal.SIGCONT)


def wake(pid: int) -> None:
    """Let a stopped process go on as soon as SIGUSR2 waits for it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return
    waiting = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("ShdPnd:"))
    if waiting & 1 << signal.SIGUSR2 - 1:
        os.kill(pid, signal.SIGCONT)


def test_the_command_returns_at_once_and_needs_not_live_on(table):
    _, story = table
    assert f"{ROWS} to run" in story.submitted and "this shell may be closed" in story.submitted


def test_a_second_command_submits_nothing_twice(table):
    assert f"0 to run, 0 finished before, {ROWS} queued or running" in table[1].again


def test_a_matrix_larger_than_an_array_may_be_is_split(table):
    """Jobs that ask for the same go together, as far as an array may hold them."""
    assert sorted(Counter(job.name for job in table[1].jobs).values()) == [1, 1, 3, MOST_IN_AN_ARRAY]


def test_a_preempted_cell_is_seen_as_such_and_goes_on(table):
    campaign, story = table
    assert story.preempted and "preempted, epoch" in story.preempted_status
    assert all(starts(campaign, cell) > 1 for cell in story.preempted)


def test_a_cell_whose_time_was_up_goes_on_in_the_next_job(table):
    campaign, story = table
    assert "its time was" in story.timed_out and "queued, epoch" in story.timed_out_status
    assert starts(campaign, story.stopped) > 1


def test_a_cell_whose_process_was_killed_goes_on_in_the_same_job(table):
    campaign, story = table
    assert campaign.records()[story.killed].provenance.segments > 1
    assert "ended by SIGKILL (out of memory?); starting it again" in log_of(campaign, story.killed, ".err")


def test_no_cell_is_requeued_twice(table):
    """Requeueing what SLURM has requeued already would cut off the next start."""
    campaign, _ = table
    for cell in campaign.records():
        output = log_of(campaign, cell, ".out")
        assert starts(campaign, cell) == 1 + output.count("\npreempted: ") + output.count("\ntimed out: "), output


def log_of(campaign: Campaign, cell: str, suffix: str) -> str:
    logs = job_logs(read_job(campaign.results / "runs" / cell))
    return "".join(path.read_text() for path in logs if path.suffix == suffix)


def starts(campaign: Campaign, cell: str) -> int:
    """How often a cell's job was started."""
    return log_of(campaign, cell, ".out").count("Starting with JobEnvironment")


def test_a_table_with_interruptions_has_the_bits_of_an_undisturbed_one(table, campaign_of):
    campaign, _ = table
    whole = campaign_of(*TABLE)
    assert f"{ROWS} done, 0 skipped, 0 failed" in whole.call("run", "--jobs", "2")
    assert results_of(campaign.records()) == results_of(whole.records())


def test_what_ran_is_the_frozen_code(table):
    campaign, _ = table
    [snapshot] = (campaign.results / "snapshots").iterdir()
    logs = "".join(path.read_text() for path in campaign.results.glob("submissions/*/*/*_submission.sh"))
    assert f"PYTHONPATH={snapshot}" in logs and "wckey" not in logs
    commits = {record.provenance.commit for record in campaign.records().values()}
    assert len(commits) == 1 and len(commits.pop()) == 40
