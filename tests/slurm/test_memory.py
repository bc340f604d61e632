"""A run that was killed for memory says so, and its next start asks for more, up to a bound. SLURM is played."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from bench.errors import UserError
from bench.journal.heartbeat import Heartbeat, Place, read_heartbeat, write_heartbeat
from bench.journal.record import read_record
from bench.journal.starts import Start, add_start, read_starts
from bench.running.cell import DONE
from slurm import worker
from slurm.memory import bytes_of, most_bytes, with_enough_memory
from slurm.resources import Resources
from slurm.table import ResourceTable

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("32G", 32 * GIB),
        ("500", 500 * 2**20),
        ("2t", 2048 * GIB),
        ("64KB", 2**16),
        ("0", None),
        (None, None),
        ("x", None),
    ],
)
def test_amounts_are_read_as_sbatch_reads_them(text, size):
    assert bytes_of(text) == size


def killed(*gib: float) -> list[Start]:
    return [Start(job="7", node="n1", began=1.0, memory_bytes=int(size * GIB), how="memory") for size in gib]


def test_half_as_much_again_as_was_too_little_is_asked_for_up_to_the_bound():
    asked = Resources(memory="8G")
    assert with_enough_memory(asked, []) is asked and most_bytes(asked) == 32 * GIB
    assert with_enough_memory(asked, killed(8)).memory == f"{12 * 1024}M"
    assert with_enough_memory(asked, killed(8, 12)).memory == f"{18 * 1024}M"
    assert with_enough_memory(asked, killed(24)).memory == f"{32 * 1024}M"
    assert with_enough_memory(Resources(memory="64G"), killed(8)).memory == "64G"
    bounded = with_enough_memory(Resources(memory="8G", most_memory="10G"), killed(8))
    assert bounded.memory == f"{10 * 1024}M" and most_bytes(bounded) == 10 * GIB
    # The bound is counted from what was asked for at first, not from what it has grown to.
    assert most_bytes(with_enough_memory(asked, killed(8))) == 32 * GIB
    assert with_enough_memory(Resources(memory="0"), killed(8)).memory == "0"
    unnamed = Resources(memory=None)  # what the partition gives
    assert with_enough_memory(unnamed, []) is unnamed
    assert with_enough_memory(unnamed, killed(8)).memory == f"{12 * 1024}M"
    assert with_enough_memory(unnamed, killed(8, 24)).memory == f"{32 * 1024}M"


def test_a_bound_that_is_no_memory_is_refused():
    with pytest.raises(UserError, match="no amount of memory: 'lots'; write 64G"):
        ResourceTable(None, ["most_memory=lots"])


@pytest.fixture
def job(job_of, tmp_path, monkeypatch) -> Callable[..., str]:
    """Runs the task in a job of 8 GiB, whose process is killed for memory, and counted; returns how that ended."""

    def run(most: int = 32, ends: int = -signal.SIGKILL, **more: str | None) -> str:
        monkeypatch.setenv("BENCH_MOST_MEMORY_MIB", str(1024 * most))
        kills = iter(range(9))
        monkeypatch.setattr(worker, "memory_kills", lambda: next(kills))
        return job_of(lambda task: ends, **more)

    return run


def test_a_job_killed_for_memory_goes_back_and_asks_for_half_as_much_again(job, slurm_task, said):
    assert job() == "requeued"
    assert said() == ["requeue 7", "update JobId=7 MinMemoryNode=12288"]
    last = read_heartbeat(slurm_task.folder)
    assert last.state == "requeued" and "than the 8.0 GiB that its job had, at epoch 2 of 5" in last.reason
    assert "its next start asks for 12.0 GiB" in last.reason
    [start] = read_starts(slurm_task.folder)
    assert (start.how, start.node, start.job, start.memory_bytes, start.worked) == ("memory", "n1", "7", 8 * GIB, True)
    assert read_record(slurm_task.folder) is None  # it has not failed


def test_a_failure_for_want_of_memory_is_taken_back(job, slurm_task):
    """Where a process that calculates for the run was killed, the run itself says that it failed."""
    assert job(ends=1) == "requeued" and read_record(slurm_task.folder) is None
    assert job(ends=DONE).startswith("failed: unknown")  # nothing of memory was in its way


def test_at_its_bound_it_has_failed_and_says_what_to_give(job, slurm_task):
    assert job(most=8).startswith("failed: killed for taking more of the machine's memory than the 8.0 GiB")
    record = read_record(slurm_task.folder)
    assert record.status == "failed" and record.failure.phase == "training"
    assert "8.0 GiB is the most that it may ask for: give it more, by memory and most_memory" in record.failure.reason


def test_no_more_is_asked_for_than_the_largest_node_has(job, said):
    assert job(sinfo="printf 'n1|8192\\nn2|10240\\n'") == "requeued"
    assert said()[-1] == "update JobId=7 MinMemoryNode=10240"
    assert job(sinfo="printf 'n1|8192\\n'").startswith("failed: ")
    assert job(sinfo="exit 1") == "requeued" and said()[-1] == "update JobId=7 MinMemoryNode=12288"


def test_where_slurm_gives_no_more_the_job_is_ended_and_has_failed(job, slurm_task, said):
    refuses = 'case "$1" in update) echo "Requested node configuration is not available" >&2; exit 1;; esac'
    assert "SLURM refuses that (scontrol: Requested node configuration" in job(scontrol=refuses)
    assert said()[-1] == "scancel 7" and read_record(slurm_task.folder).status == "failed"


def test_a_job_that_died_whole_is_told_and_submitted_with_more(submit, bench, played_slurm, tmp_path):
    played_slurm(
        sbatch=f"echo x >> {tmp_path}/calls; cp $1 {tmp_path}/script; echo Submitted batch job 7",
        squeue=f"[ ! -e {tmp_path}/calls ] || echo '|7|OUT_OF_MEMORY|None|'$(cat {tmp_path}/name)",
    )
    assert submit("--resource", "memory=2G", seeds="1").code == 0
    assert "#SBATCH --mem=2G" in (tmp_path / "script").read_text()
    [folder] = (tmp_path / "results" / "runs").iterdir()
    name = (folder / "job.json").read_text().partition('"name":"')[2].partition('"')[0]
    (tmp_path / "name").write_text(name)
    add_start(folder, Start(job="7", node="n1", began=1.0, memory_bytes=2 * GIB))
    beat = Heartbeat(state="running", updated=2**33, host="n1", pid=1, place=Place(phase="training", epoch=1, epochs=2))
    write_heartbeat(folder, beat)
    status = bench("status", "--preset", "tiny", "--variants", "ViT", "--seeds", "1", "--results", tmp_path / "results")
    assert "killed for taking more of the machine's memory than it had (SLURM: out of memory)" in status.out
    assert submit("--resource", "memory=2G", seeds="1").code == 0
    assert "#SBATCH --mem=3072M" in (tmp_path / "script").read_text()
    assert "BENCH_MOST_MEMORY_MIB=8192" in (tmp_path / "script").read_text()
    assert [start.how for start in read_starts(folder)] == ["memory"]


def test_what_a_partition_gives_by_cpu_grows_too(job, said, monkeypatch):
    """Where no memory is named; the bound is counted from the first start then."""
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "2048")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    assert job(most=0, memory=None) == "requeued"
    assert said()[-1] == "update JobId=7 MinMemoryNode=12288"


def test_a_job_that_had_all_memory_of_its_node_has_failed(job, slurm_task):
    assert job(memory=None, most=0).startswith("failed: ")
    reason = read_record(slurm_task.folder).failure.reason
    assert reason.startswith("killed for taking more of the machine's memory than its job had, at epoch 2 of 5: give")
