"""Where SLURM lets a user have only so many jobs, as many as fit are submitted, and the others stay open."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.running import submission

LIMIT = "sbatch: error: AssocMaxSubmitJobLimit"
POLICY = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, ...)"


@pytest.fixture
def places(played_slurm, tmp_path) -> Path:
    """A cluster with as many places as the file says, each taken by one job of an array."""
    file = tmp_path / "places"
    played_slurm(
        sbatch=f"""
n=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' $1); n=$((${{n:-0}} + 1)); have=$(cat {file})
echo $n >> {tmp_path}/asked
[ $n -le $have ] || {{ echo '{LIMIT}' >&2; echo '{POLICY}' >&2; exit 1; }}
echo $((have - n)) > {file}; echo $n >> {tmp_path}/given
echo Submitted batch job $(wc -l < {tmp_path}/given)""",
        squeue=f"[ ! -s {tmp_path}/given ] || echo '|1|RUNNING|None|other'",
        scontrol="echo 'MaxArraySize = 100'",
    )
    return file


def jobs(results: Path) -> int:
    return len(list(results.glob("runs/*/job.json")))


def test_what_finds_no_room_is_left_open_and_submitted_later(submit, places, tmp_path):
    places.write_text("5")
    found = submit(seeds="9")
    assert found.code == 0 and "submitted 5 runs (2 arrays, jobs 1, 2)" in found.out
    assert "4 runs are left open for want of room (SLURM refuses: AssocMaxSubmitJobLimit" in found.out
    assert jobs(tmp_path / "results") == 5
    assert len(list((tmp_path / "results" / "submissions").glob("bench-*/*/*.pkl"))) == 5
    places.write_text("9")
    again = submit(seeds="9")
    assert "submitted 9 runs" in again.out  # the queue of this cluster forgets its jobs
    assert "left open" not in again.out


def test_a_limit_met_by_nobodys_jobs_is_a_refusal(submit, places, tmp_path):
    places.write_text("0")
    found = submit()
    assert found.code == 2 and "SLURM refuses: AssocMaxSubmitJobLimit; " in found.err
    assert jobs(tmp_path / "results") == 0 and not list((tmp_path / "results" / "submissions").glob("bench-*"))


def test_waiting_for_room_goes_on_until_all_are_submitted(submit, places, tmp_path, monkeypatch):
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:
            places.write_text("2")

    # Of the queue that forgets, what was submitted is done.
    monkeypatch.setattr(submission, "time", SimpleNamespace(sleep=wait, strftime=time.strftime))
    monkeypatch.setattr(submission, "sort_tasks", _sorting_by_job_file)
    places.write_text("2")
    found = submit("--wait-for-room", seeds="5")
    assert found.code == 0 and jobs(tmp_path / "results") == 5
    assert waits[:2] == [submission.FIRST_PAUSE, 2 * submission.FIRST_PAUSE] and len(waits) == 3
    assert found.out.count("left open") == 2 and (tmp_path / "given").read_text().split() == ["2", "1", "1", "1"]


def _sorting_by_job_file(tasks, ledger):
    """Whoever has a job is queued."""
    found = submission.Sorted([], [], [], [])
    for task in tasks:
        (found.busy if (task.folder / "job.json").exists() else found.open).append(task)
    return found


def test_waiting_is_for_slurm_alone(bench, tiny_data, tmp_path):
    found = bench("run", "--preset", "tiny", "--data-dir", tiny_data, "--results", tmp_path, "--wait-for-room")
    assert found.code == 2 and "--wait-for-room waits for places in SLURM's queue" in found.err
