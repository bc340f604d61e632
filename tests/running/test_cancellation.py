"""`bench cancel` ends what a submission runs, nothing else, and says which runs go on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.journal.heartbeat import Heartbeat, Place, this_host, write_heartbeat
from bench.journal.record import Started, cell_lock, write_started
from bench.running.identity import Process, identify
from bench.running.jobs import ClusterSettings, Entry, Job, read_job, write_job
from bench.study.definition import load_preset, load_study
from bench.study.plan import cell_id, plan, resolve
from slurm.local import LocalCluster

BACKGROUND = "import subprocess, sys; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); input()"
"""A submission's process, which has started one that runs a cell."""


@pytest.fixture
def folder(tmp_path) -> Path:
    cell = plan(load_study("table2"), load_preset("tiny"), {}, ["ViT"])[0]
    config = resolve(cell.config, "cpu")
    path = tmp_path / "runs" / cell_id(config, cell.numerics, "f" * 64)
    path.mkdir(parents=True)
    write_started(path, Started(label=cell.label, config=config, numerics=cell.numerics))
    return path


@pytest.fixture
def submission() -> Iterator[tuple[subprocess.Popen, int]]:
    """A process in the background, and the number of its child."""
    with subprocess.Popen([sys.executable, "-Sc", BACKGROUND], stdin=-1, stdout=-1, text=True) as process:
        child = int(process.stdout.readline())
        yield process, child
        process.kill()
        subprocess.run(["kill", str(child)])


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def cancel(bench, tmp_path):
    return lambda: bench("cancel", "--variants", "ViT", "--preset", "tiny", "--results", tmp_path)


def give_local_job(folder: Path, process: Process | None) -> None:
    write_job(folder, Job(cluster="local", name="b", folder=str(folder), submitted=time.time() - 60, process=process))


def beat(folder: Path, pid: int, host: str = "", **more) -> None:
    place = Place(phase="training", epoch=3, epochs=15)
    write_heartbeat(
        folder, Heartbeat(state="running", updated=time.time(), host=host or this_host(), pid=pid, place=place, **more)
    )


def test_a_submission_that_waits_or_runs_is_ended(cancel, folder, submission):
    process, child = submission
    give_local_job(folder, identify(process.pid))
    with cell_lock(folder):
        beat(folder, child)
        done = cancel()
    assert done.code == 0 and done.out == "1 cancelled\n"
    assert process.wait(10) == -15 and read_job(folder).cancelled


def test_a_process_that_has_the_number_by_now_is_left_alone(cancel, folder, innocent):
    gone = identify(innocent.pid).model_copy(update={"command": ("python", "-m", "submitit.local._local")})
    give_local_job(folder, gone)
    done = cancel()
    assert "0 cancelled" in done.out and innocent.poll() is None and not read_job(folder).cancelled


def test_a_run_that_a_terminal_has_taken_over_goes_on_and_is_named(cancel, folder, innocent):
    """The submission's process is long gone; another runs the cell."""
    give_local_job(folder, identify(innocent.pid).model_copy(update={"started": "before"}))
    with cell_lock(folder):
        beat(folder, innocent.pid)
        done = cancel()
    assert done.code == 1 and f"process {innocent.pid} on {this_host()} has taken the run over" in done.out
    assert "0 cancelled" in done.out and innocent.poll() is None and not read_job(folder).cancelled


def test_a_submission_ends_while_the_run_that_was_taken_from_it_goes_on(cancel, folder, submission, innocent):
    process, _ = submission
    give_local_job(folder, identify(process.pid))
    with cell_lock(folder):
        beat(folder, innocent.pid)
        done = cancel()
    assert done.code == 1 and f"job {process.pid} is cancelled, but process {innocent.pid}" in done.out
    assert process.wait(10) == -15 and innocent.poll() is None


def test_a_submission_of_another_machine_is_to_be_cancelled_there(cancel, folder, innocent):
    give_local_job(folder, identify(innocent.pid).model_copy(update={"host": "login7"}))
    done = cancel()
    assert done.code == 1 and "submitted on login7: give the same command there" in done.out
    assert innocent.poll() is None


def test_what_names_its_process_by_the_number_alone_is_not_ended(cancel, folder, innocent):
    """As files of earlier versions do."""
    (folder / "job.json").write_text(
        f'{{"cluster": "local", "name": "b", "folder": "/tmp", "submitted": 1.0, "pid": {innocent.pid}}}'
    )
    with cell_lock(folder):
        beat(folder, innocent.pid)
        done = cancel()
    assert done.code == 1 and "taken the run over" in done.out and innocent.poll() is None


def test_a_run_that_was_submitted_again_and_waits_is_queued(bench, folder, tmp_path, innocent):
    """Its last heartbeat is of the time before."""
    write_heartbeat(folder, Heartbeat(state="interrupted", updated=time.time() - 99, host=this_host(), pid=1))
    give_local_job(folder, identify(innocent.pid))
    status = ("status", "--variants", "ViT", "--preset", "tiny", "--results", tmp_path)
    assert "1 queued" in bench(*status).out
    innocent.kill()
    innocent.wait()
    assert "1 interrupted" in bench(*status).out


class PlayedSlurm:
    """Ends the jobs that it is given, or refuses to speak."""

    def __init__(self, ended=None):
        self.entries = {("b-1", 0): Entry("7_0", "PENDING", "Priority")}
        self.ended = {("b-1", 0): "7_0"} if ended is None else ended

    def queue(self):
        return self.entries

    def ends(self, jobs):
        return {}

    def cancel(self, jobs):
        if self.ended is False:
            raise UserError("scancel: Access/permission denied")
        return self.ended


@pytest.fixture
def slurm(monkeypatch, folder):
    write_job(folder, Job(cluster="slurm", name="b-1", index=0, folder=str(folder), submitted=time.time() - 60))

    def play(**more) -> None:
        monkeypatch.setattr("bench.commands.cluster.open_cluster", lambda settings: PlayedSlurm(**more))

    return play


def test_slurms_jobs_are_ended(cancel, slurm, folder):
    slurm()
    assert cancel().out == "1 cancelled\n" and read_job(folder).cancelled


def test_a_run_that_another_took_from_slurms_queue_is_named(cancel, slurm, folder, innocent):
    slurm()
    with cell_lock(folder):
        beat(folder, innocent.pid, job="9")
        done = cancel()
    assert done.code == 1 and "job 7_0 is cancelled, but process" in done.out and "SLURM job 9, has taken" in done.out
    with cell_lock(folder):
        beat(folder, innocent.pid, job="7_0")
        assert cancel().out == "1 cancelled\n"


def test_slurms_refusal_is_told_and_marks_nothing(cancel, slurm, folder):
    slurm(ended=False)
    done = cancel()
    assert done.code == 1 and done.out == "scancel: Access/permission denied\n0 cancelled\n"
    assert not read_job(folder).cancelled


def test_local_submissions_are_ended_once_each(submission, tmp_path):
    process, _ = submission
    job = Job(cluster="local", name="b", folder=str(tmp_path), submitted=1.0, process=identify(process.pid))
    ended = LocalCluster(ClusterSettings("local", tmp_path)).cancel([job, job])
    assert ended == {("b", None): str(process.pid)} and process.wait(10) == -15
