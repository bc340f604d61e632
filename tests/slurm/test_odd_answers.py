"""SLURM's commands may be absent, silent, of another kind, or say anything: one sentence, or what could be read."""

from __future__ import annotations

import os
import pwd
import time

import pytest

from bench.errors import UserError
from bench.running.jobs import Entry, Job
from slurm import asking, queue

JOB = Job(cluster="slurm", name="b-1", index=0, folder="/tmp", submitted=time.time())


@pytest.mark.parametrize(
    ("squeue", "words"),
    [
        ("sleep 60", "squeue has not answered for 0 s"),
        ("echo 'squeue: error: nobody there' >&2; exit 1", "squeue: squeue: error: nobody there"),
        ("exit 1", "squeue: failed without a word"),
        ("printf 'not \\377 UTF-8' >&2; exit 1", "not \N{REPLACEMENT CHARACTER} UTF-8"),
    ],
)
def test_what_went_wrong_is_one_sentence(played_slurm, monkeypatch, squeue, words):
    played_slurm(squeue=squeue)
    monkeypatch.setattr(asking.ask, "__kwdefaults__", {"patience": 0.2, "insist": 0.0})
    with pytest.raises(UserError, match=words.replace(".", r"\.")):
        queue.queue()


def test_a_command_that_cannot_be_started_is_named(tmp_path, monkeypatch):
    (tmp_path / "squeue").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=f"cannot start {tmp_path}/squeue: Exec format error"):
        queue.queue()


def test_jobs_of_any_name_stand_in_the_queue_beside_ours(played_slurm):
    """Users name their own jobs as they like, and clusters print greetings."""
    lines = "welcome\\n0|7_0|RUNNING|None|b-1\\n|9|PENDING|Priority|my|job\\n|9|PENDING\\nhalf|a|name\\n\\377|||\\n"
    played_slurm(squeue=f"printf '{lines}'")
    found = queue.queue()
    assert found["b-1", 0] == Entry("7_0", "RUNNING", "None")
    assert found["my|job", None].id == "9" and len(found) == 2


def test_accounts_that_say_something_else_are_passed_over(played_slurm):
    played_slurm(sacct="printf 'sacct: upgraded\\nb-1|7_0|COMPLETED\\nb-1|7_1\\n'")
    assert queue.ends([JOB]) == {("b-1", 0): "COMPLETED"}


def test_a_job_without_the_usual_fields_is_read_as_far_as_it_goes(played_slurm):
    played_slurm(scontrol="echo 'JobId=7 JobState=RUNNING Restarts=many StartTime=Unknown TimeLimit=soon'")
    assert queue.show_job("7") == queue.JobInfo("RUNNING", 0, None, None)


def test_only_jobs_that_wait_or_run_are_cancelled(played_slurm, tmp_path):
    played_slurm(
        squeue="printf '0|7_0|RUNNING|None|b-1\\n1|7_1|COMPLETED|None|b-1\\n'", scancel=f'echo "$@" >> {tmp_path}/ended'
    )
    jobs = [JOB, JOB.model_copy(update={"index": 1}), JOB.model_copy(update={"index": 2})]
    assert queue.cancel(jobs) == {("b-1", 0): "7_0"}
    assert (tmp_path / "ended").read_text() == "7_0\n"


def test_the_queue_is_asked_by_a_user_without_a_name(played_slurm, bench, submit, monkeypatch, tmp_path):
    """As in containers: squeue refuses a number that it does not know, so everybody's jobs are looked at."""

    def nobody(uid: int):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    played_slurm(squeue=f'echo "$@" > {tmp_path}/asked')
    assert submit(seeds="1").code == 0
    assert bench("status", "--preset", "tiny", "--results", tmp_path / "results").code == 0
    assert f"--user={pwd.getpwuid(os.getuid()).pw_name}" in (tmp_path / "asked").read_text()
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    found = bench("status", "--preset", "tiny", "--results", tmp_path / "results")
    assert found.code == 0 and found.err == "" and "--user" not in (tmp_path / "asked").read_text()
