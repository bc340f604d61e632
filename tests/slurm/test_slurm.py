"""Cells on a real SLURM: a whole table comes home, whatever happens on the way.

Needs the one-node cluster of `slurm/dev-cluster`: it is preempted, and one of its daemons is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from places import ROOT

from bench.journal.heartbeat import Heartbeat, read_heartbeat
from bench.journal.record import Record, read_records
from bench.running.jobs import job_logs, read_job

pytestmark = pytest.mark.slurm

DEV_CLUSTER = ROOT / "slurm" / "dev-cluster"
RESOURCES = ("gpus=0", "cpus=1", "memory=1G")
PATIENCE = 150.0


def wait_for(what: str, condition: Callable[[], object], patience: float = PATIENCE) -> object:
    """The first true value of a condition that is looked at again and again."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for: {what}"
        time.sleep(0.2)
    return found


def shell(command: str) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True, scope="session")
def cluster() -> None:
    """The development cluster, without jobs of earlier tests."""
    try:
        found = subprocess.run([DEV_CLUSTER, "status"], capture_output=True, text=True)
    except OSError as fault:
        pytest.skip(f"needs a SLURM cluster: {fault}")
    if found.returncode:
        pytest.skip("needs a SLURM cluster: slurm/dev-cluster install, then start (as root, on Debian)")


@dataclass
class Campaign:
    """A results folder, and `bench` with the arguments that choose its cells."""

    results: Path
    data: Path
    select: tuple[str, ...]
    asked: list[str] = field(default_factory=list)

    def call(self, command: str, *more: str) -> str:
        """A command in a process of its own, which is gone when this returns."""
        words = [*self.select, "--preset", "tiny", "--data-dir", str(self.data), "--results", str(self.results), *more]
        done = subprocess.run(
            [sys.executable, "-m", "bench", command, *words], capture_output=True, text=True, cwd=ROOT, timeout=420
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, *more: str) -> str:
        resources = [word for resource in RESOURCES for word in ("--resource", resource)]
        return self.call("run", "--cluster", "slurm", *resources, *more)

    def status(self) -> str:
        return self.call("status")

    def heartbeats(self) -> dict[Path, Heartbeat]:
        found = {folder: read_heartbeat(folder) for folder in self.results.glob("runs/*")}
        return {folder: heartbeat for folder, heartbeat in found.items() if heartbeat is not None}

    def running(self, prefix: str = "") -> list[Path]:
        """Cells whose process lives."""
        return [
            folder
            for folder, heartbeat in self.heartbeats().items()
            if folder.name.startswith(prefix) and heartbeat.state == "running" and alive(heartbeat.pid)
        ]

    def training(self) -> list[Path]:
        """Cells that are in the first half of their training and have saved."""
        places = {folder: self.heartbeats()[folder] for folder in self.running()}
        return [
            folder
            for folder, heartbeat in places.items()
            if heartbeat.place.phase == "training"
            and heartbeat.saved
            and 1 < heartbeat.place.epoch < heartbeat.place.epochs / 2
        ]

    def states(self) -> list[str]:
        """How all cells that were started say they are."""
        return [heartbeat.state for heartbeat in self.heartbeats().values()]

    def preempted(self) -> list[str]:
        """Cells that were preempted and wait to go on."""
        return [folder.name for folder, heartbeat in self.heartbeats().items() if heartbeat.state == "preempted"]

    def records(self) -> dict[str, Record]:
        return {record.cell: record for record in read_records(self.results)}


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture(scope="module")
def campaign_of(tiny_data, tmp_path_factory):
    """Makes campaigns; whatever others left in the queue is cancelled first, and what they leave in the end."""
    empty_queue()

    def make(*select: str) -> Campaign:
        return Campaign(tmp_path_factory.mktemp("campaign"), tiny_data, select)

    yield make
    empty_queue()


def empty_queue() -> None:
    subprocess.run(["scancel", "--user=root"], capture_output=True)
    wait_for("an empty queue", lambda: not shell("squeue --noheader"), 60)


def results_of(records: dict[str, Record]) -> dict[str, list]:
    return {
        cell: [
            record.weights_hash,
            *((t.test, t.state, t.query_index, t.first_rank, t.average_precision) for t in record.tests),
        ]
        for cell, record in records.items()
    }


# Long enough that a cell can be met in the middle of training.
TABLE = ("--variants", "all", "--train", "msmt", "--seeds", "2", "--set", "training.epochs=40")


@dataclass
class Story:
    """What was seen while the table was run."""

    submitted: str = ""
    again: str = ""
    names: set[str] = field(default_factory=set)
    preempted: list[str] = field(default_factory=list)
    preempted_status: str = ""
    killed: str = ""
    stopped: str = ""
    timed_out: str = ""
    timed_out_status: str = ""


@pytest.fixture(scope="module")
def table(campaign_of) -> tuple[Campaign, Story]:
    """All of Table 2 on tiny data, two seeds: preempted once, out of time once, killed once, and come home."""
    campaign, story = campaign_of(*TABLE), Story()
    file = campaign.results / "resources.yaml"
    # Told to leave 20 s (SLURM looks every half a minute, so up to 50 s) before a minute is over.
    file.write_text('heads: {vit: {time: "1", signal_seconds: 20}}')
    story.submitted = campaign.submit("--resources", str(file))
    story.again = campaign.submit("--resources", str(file))
    story.names = {read_job(folder).name for folder in campaign.results.glob("runs/*")}

    # A run that stalls: its time is up before it gets further.
    stalled = wait_for("a cell to stall", lambda: campaign.running("vit-"))[0]
    pid = read_heartbeat(stalled).pid
    os.kill(pid, signal.SIGSTOP)
    story.stopped = stalled.name
    wait_for("the time-out", lambda: wake(pid) or read_heartbeat(stalled).state == "timed out", 120)
    story.timed_out, story.timed_out_status = read_heartbeat(stalled).reason, campaign.status()

    victim = wait_for("a cell to kill", campaign.training)[0]
    os.kill(read_heartbeat(victim).pid, signal.SIGKILL)
    story.killed = victim.name

    wait_for("a cell to preempt", lambda: [folder for folder in campaign.training() if folder != victim])
    shell("sbatch --partition=high --ntasks=2 --output=/dev/null --wrap='sleep 12'")
    wait_for("preempted cells", campaign.preempted)
    story.preempted_status = wait_for("its status", lambda: (told := campaign.status()).count("preempted, ") and told)
    story.preempted = campaign.preempted()
    wait_for("the table", lambda: campaign.states().count("done") == 18, 420)
    return campaign, story


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
    assert "18 to run" in story.submitted and "this shell may be closed" in story.submitted


def test_a_second_command_submits_nothing_twice(table):
    assert "0 to run, 0 finished before, 18 queued or running" in table[1].again


def test_a_matrix_larger_than_an_array_may_be_is_split(table):
    """The development cluster allows arrays of six."""
    assert len(table[1].names) >= 3


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
    assert "ended by SIGKILL; starting it again" in log_of(campaign, story.killed, ".err")


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
    assert "18 done, 0 skipped, 0 failed" in whole.call("run", "--jobs", "2")
    assert results_of(campaign.records()) == results_of(whole.records())


def test_what_ran_is_the_frozen_code(table):
    campaign, _ = table
    [snapshot] = (campaign.results / "snapshots").iterdir()
    logs = "".join(path.read_text() for path in campaign.results.glob("submissions/*/*/*_submission.sh"))
    assert f"PYTHONPATH={snapshot}" in logs and "wckey" not in logs
    commits = {record.provenance.commit for record in campaign.records().values()}
    assert len(commits) == 1 and len(commits.pop()) == 40


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
