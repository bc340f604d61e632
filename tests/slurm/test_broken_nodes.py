"""A run that its node could not run goes to another one; nodes that fail three are left out. SLURM is played."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_runs import both, cells, run

from bench.journal.heartbeat import read_heartbeat
from bench.journal.record import read_record, write_record
from bench.journal.starts import Start, add_start, end_start, read_starts
from bench.running.cell import DONE, FAILED
from bench.running.failures import failed_record
from bench.running.jobs import Job, write_job
from slurm.queue import JobInfo, show_job

GONE = "cuda:0 cannot be used: no GPU is shown to this process"
SHOWS = "case \"$1\" in --oneliner) echo 'JobId=7 JobState=RUNNING ExcNodeList={}';; esac"


def fails(reason: str, phase: str = "start") -> Callable:
    """A run that records why it failed."""

    def process(task) -> int:
        write_record(task.folder, failed_record(task, None, phase, reason))
        return FAILED

    return process


def test_a_run_whose_node_has_no_gpu_goes_back_and_keeps_off_it(job_of, slurm_task, said):
    assert job_of(fails(GONE), place="starting", scontrol=SHOWS.format("(null)")) == "requeued"
    assert said()[1:] == ["requeue 7", "update JobId=7 ExcNodeList=n1"]
    assert read_record(slurm_task.folder) is None  # it has not failed
    last = read_heartbeat(slurm_task.folder)
    assert last.state == "requeued" and last.reason == f"start: {GONE}; its next start is kept off n1"
    [start] = read_starts(slurm_task.folder)
    assert (start.node, start.how, start.worked) == ("n1", "node", False)


def test_nodes_that_the_user_excludes_stay_excluded(job_of, said):
    job_of(fails(GONE), scontrol=SHOWS.format("n[7-9]"))
    assert said()[-1] == "update JobId=7 ExcNodeList=n[7-9],n1"


def test_what_an_exception_said_is_heard_too(job_of, slurm_task):
    """A reason may be one sentence that a library's words stand behind."""

    def process(task) -> int:
        (task.folder / "error.log").write_text(
            'Traceback (most recent call last):\n  File "a.py"\ntorch.AcceleratorError: CUDA error: uncorrectable ECC '
            "error encountered\n\nThe above exception was the direct cause\nCellFailed: step 7 failed\n"
        )
        return fails("step 7 failed", "training")(task)

    assert job_of(process) == "requeued"
    [start] = read_starts(slurm_task.folder)
    assert start.how == "node" and start.worked  # it lost its GPU on the way


def test_a_disk_that_fails_under_a_mapped_file_is_the_nodes_too(job_of):
    assert job_of(lambda task: -signal.SIGBUS) == "requeued"


def test_a_runs_own_fault_stays_its_own(job_of, slurm_task):
    assert job_of(fails("RuntimeError: the dog ate the scores", "training")).startswith(
        "failed: training: RuntimeError"
    )
    assert read_record(slurm_task.folder).status == "failed"
    assert [start.how for start in read_starts(slurm_task.folder)] == ["failed"]


def test_what_fails_alike_on_three_nodes_has_failed(job_of, slurm_task):
    for node in ("n3", "n2"):
        assert job_of(fails(GONE), node=node, place="starting") == "requeued"
    assert job_of(fails(GONE), place="starting").startswith("failed: ")
    failure = read_record(slurm_task.folder).failure
    assert failure.phase == "start" and failure.reason.endswith(
        "alike on n1, n2, n3, so that it lies with none of them"
    )


def test_a_run_that_is_left_with_no_node_has_failed(job_of, slurm_task):
    assert job_of(fails(GONE), sinfo="echo 'n1|1'").startswith("failed: ")
    assert "there is no other node that could run it" in read_record(slurm_task.folder).failure.reason


def test_a_run_that_comes_home_says_so(job_of, slurm_task):
    cell = cells("ViT", preset="tiny")[0]
    trained = both((0.3, 0.2), (0.7, 0.4))
    tests = [*trained, *(result.model_copy(update={"state": "untrained"}) for result in trained)]

    def process(task) -> int:
        run(task.results, cell, tests, task.cell, config=task.config, preset="tiny")
        return DONE

    assert job_of(process) == "done"
    assert [(start.node, start.how, start.worked) for start in read_starts(slurm_task.folder)] == [("n1", "done", True)]


def fail_on(folder: Path, node: str) -> None:
    add_start(folder, Start(job="7", node=node, began=time.time()))
    end_start(folder, "node", f"start: {GONE}")


@pytest.fixture
def submitted(submit, played_slurm, tmp_path) -> Callable[..., str]:
    """Submits a seed and returns its sbatch script; the cluster has n1, n2 and n3, and forgets its jobs."""
    played_slurm(
        sbatch=f"cp $1 {tmp_path}/script; echo Submitted batch job 7", sinfo="printf 'n1|9\\nn2|9\\nn3|9\\n'",
        scontrol="echo 'MaxArraySize = 100'",
    )  # fmt: skip

    def call(*arguments: str, seeds: str = "1") -> str:
        found = submit(*arguments, seeds=seeds)
        assert found.code == 0, found.err
        return (tmp_path / "script").read_text()

    return call


def test_a_submission_keeps_runs_off_the_nodes_that_failed_them(submitted, bench, tmp_path):
    assert "--exclude" not in submitted()
    [folder] = (tmp_path / "results" / "runs").iterdir()
    fail_on(folder, "n1")
    fail_on(folder, "elsewhere")  # of another cluster: SLURM would refuse to hear of it
    script = submitted("--resource", "sbatch=--exclude=n[7-9]")
    assert "#SBATCH --exclude='n[7-9],n1'\n" in script
    status = bench("status", "--preset", "tiny", "--results", tmp_path / "results").out
    assert "node n1 failed 1 start, the last at " in status and f"start: {GONE}" in status


def test_where_no_node_would_be_left_all_are_tried(submitted, tmp_path):
    submitted(seeds="3")
    folders = sorted((tmp_path / "results" / "runs").iterdir())
    for folder, node in zip(folders, ("n1", "n2", "n3"), strict=True):
        for _ in range(3):
            fail_on(folder, node)
    assert "--exclude" not in submitted()


def test_a_job_that_died_before_python_did_is_known_by_its_log(submit, played_slurm, tmp_path):
    played_slurm(
        squeue=f"[ ! -e {tmp_path}/name ] || echo '|7|FAILED|None|'$(cat {tmp_path}/name)",
        sinfo="printf 'n1|9\\nn2|9\\n'",
    )  # fmt: skip
    assert submit(seeds="1").code == 0
    [folder] = (tmp_path / "results" / "runs").iterdir()
    logs = tmp_path / "logs"
    logs.mkdir()
    write_job(folder, Job(cluster="slurm", name="b-1", folder=str(logs), submitted=time.time() - 60))
    (tmp_path / "name").write_text("b-1")
    (logs / "7_0_log.out").write_text("started on n1\n")
    (logs / "7_0_log.err").write_text("Traceback\n  import torch\nOSError: [Errno 5] Input/output error\n")
    assert submit(seeds="1").code == 0
    [start] = read_starts(folder)
    assert (start.node, start.how, start.worked) == ("n1", "node", False) and "Input/output error" in start.reason


def test_the_nodes_that_a_job_is_kept_off_are_read(played_slurm):
    played_slurm(scontrol="echo 'JobId=7 JobState=RUNNING ExcNodeList=n[1-3]'")
    assert show_job("7") == JobInfo("RUNNING", 0, None, None, "n[1-3]")
