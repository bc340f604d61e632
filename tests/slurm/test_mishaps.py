"""On a real SLURM: cells that fail, daemons that die, jobs that are cancelled, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from campaign import DEV_CLUSTER, RESOURCES, Campaign, shell
from places import ROOT
from waiting import wait_for

from bench.journal.heartbeat import read_heartbeat

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]


FAULTY = """
import os
from variants import vit
class {name}(vit.ViT):
    "Fails in training."
    def match(self, query, gallery):
        if self.training:
            {action}
        return super().match(query, gallery)
"""


def test_a_failing_and_a_dying_cell_touch_no_other(campaign_of, tmp_path):
    actions = {"failing": "raise RuntimeError('the dog ate the scores')", "dying": "os.kill(os.getpid(), 9)"}
    for name, action in actions.items():
        (tmp_path / f"{name}.py").write_text(FAULTY.format(name=name.title(), action=action))
    heads = ",".join(str(tmp_path / f"{name}.py") for name in actions)
    campaign = campaign_of("--variants", f"{heads},cosine", "--seeds", "1")
    campaign.submit()
    wait_for("the ends", lambda: sorted(campaign.states()) == ["done", "failed", "failed"])
    status = campaign.status()
    assert "the dog ate the scores" in status and "error.log" in status
    assert "ended 3 times at the same place" in status and "out of memory?" in status
    # Asked again, just those two are submitted.
    assert "2 to run, 1 finished before" in campaign.submit("--dry-run")


LONG = ("--variants", "ViT,cosine,QAConv-GS", "--seeds", "1", "--set", "training.epochs=2000")


@pytest.fixture(scope="module")
def long_run(campaign_of) -> Campaign:
    """Three cells that take minutes, two of them in training, one queued."""
    campaign = campaign_of(*LONG)
    campaign.submit()
    wait_for("two cells in training", lambda: len(campaign.training()) == 2)
    return campaign


def test_cells_run_on_while_slurmd_is_dead_and_after_its_return(long_run):
    daemon = int(Path("/var/lib/pairbench-cluster/slurmd.pid").read_text())
    before = {folder: read_heartbeat(folder) for folder in long_run.training()}
    os.kill(daemon, signal.SIGKILL)
    time.sleep(1)
    assert "2 running, 1 queued" in long_run.status()
    subprocess.run([DEV_CLUSTER, "slurmd"], check=True)
    wait_for("slurmd", lambda: not subprocess.run([DEV_CLUSTER, "status"]).returncode, 30)
    for folder, heartbeat in before.items():
        wait_for("progress", lambda f=folder, h=heartbeat: read_heartbeat(f).place.done > h.place.done)
        assert read_heartbeat(folder).pid == heartbeat.pid


def test_a_job_that_is_killed_whole_is_seen_as_failed_and_submitted_again_alone(long_run):
    victim = long_run.training()[0]
    worker = int(Path(f"/proc/{read_heartbeat(victim).pid}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (worker, read_heartbeat(victim).pid):
        os.kill(pid, signal.SIGKILL)
    wait_for("the death", lambda: "1 failed" in long_run.status())
    status = long_run.status()
    assert victim.name in status and "died without a word" in status and "(log: " in status
    assert "1 to run, 0 finished before, 2 queued or running" in long_run.submit()


def test_scancel_is_seen_as_cancelled_running_or_queued(long_run):
    """By SLURM's own command for a running cell, by `bench cancel` for all others."""
    wait_for("two cells in training", lambda: len(long_run.training()) == 2)
    victim = long_run.training()[0]
    shell(f"scancel {read_heartbeat(victim).job}")
    wait_for("the end", lambda: read_heartbeat(victim).state == "cancelled", 30)
    assert "cancelled, epoch" in long_run.status()
    assert "2 cancelled" in long_run.call("cancel")
    wait_for("the ends", lambda: "0 of 3 done, 3 cancelled" in long_run.status(), 60)
    assert not shell("squeue --noheader --states=PENDING")
    assert (victim / "checkpoint.pt").exists()


def test_a_results_folder_that_the_nodes_do_not_see_is_told(campaign_of, tmp_path):
    """The submitter and `bench status` see a disk that is mounted for them alone."""
    campaign = campaign_of("--variants", "cosine", "--seeds", "1")
    run = f"{sys.executable} -m bench"
    words = f"--variants cosine --preset tiny --data-dir {campaign.data} --results {campaign.results}"
    resources = " ".join(f"--resource {resource}" for resource in RESOURCES)
    script = (
        f"mount -t tmpfs none {campaign.results} && {run} run --cluster slurm {words} {resources}"
        f" && for i in $(seq 60); do {run} status {words} > {tmp_path}/status;"
        f" grep -q failed {tmp_path}/status && break; sleep 0.5; done"
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is the results folder shared with the nodes?" in (tmp_path / "status").read_text()


def test_refusals_are_in_slurms_own_words(bench, tiny_data, tmp_path):
    found = bench(
        "run", "--cluster", "slurm", "--preset", "tiny", "--variants", "cosine", "--data-dir", tiny_data, "--results",
        tmp_path, "--resource", "gpus=0", "--resource", "partition=nowhere",
    )  # fmt: skip
    assert found.code == 2 and "invalid partition specified: nowhere" in found.err
