"""A job that was cancelled while it waited, and that SLURM has forgotten since, is no failure of its run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from made_up_runs import both, cells, run

from bench.commands.status import render
from bench.journal.heartbeat import Heartbeat, write_heartbeat
from bench.journal.record import Started, write_started
from bench.running.jobs import Job, write_job
from bench.running.ledger import Ledger
from bench.running.submission import sort_tasks
from slurm.queue import ends


class Forgetful:
    """A queue that knows nobody any more, and what accounts say, if there are any."""

    def __init__(self, accounts: dict | None = None):
        self.accounts, self.asked = accounts or {}, []

    def queue(self):
        return {}

    def ends(self, jobs):
        self.asked += jobs
        return self.accounts


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run that was submitted two minutes ago as number 4 of an array, and has not told of itself."""
    cell, path = cells("ViT")[0], tmp_path / "runs" / "vit-msmt-s0-0"
    path.mkdir(parents=True)
    write_started(path, Started(label=cell.label, config=cell.config, numerics=cell.numerics))
    give_job(path)
    return path


def give_job(path: Path, **more) -> None:
    values = {"index": 4, "folder": str(path.parent.parent / "said"), "submitted": time.time() - 120} | more
    write_job(path, Job(cluster="slurm", name="b-1", **values))


def state_of(folder: Path, accounts: dict | None = None):
    return Ledger(folder.parent.parent, lambda: Forgetful(accounts)).state_of_folder(folder)


def test_a_job_of_which_nothing_is_known_was_cancelled_or_lost_before_it_began(folder):
    state = state_of(folder)
    assert state.kind == "cancelled" and not state.busy
    assert "cancelled or lost before it began" in state.reason and "`bench run` submits it" in state.reason


def test_what_we_have_cancelled_ourselves_is_known_without_slurm(folder):
    give_job(folder, cancelled=True)
    book = Ledger(folder.parent.parent, lambda: pytest.fail("nobody is to be asked"))
    state = book.state_of_folder(folder)
    assert (state.kind, state.reason) == ("cancelled", "")


def test_what_somebody_else_has_cancelled_is_in_the_accounts(folder):
    state = state_of(folder, {("b-1", 4): "CANCELLED by 1000"})
    assert (state.kind, state.reason) == ("cancelled", "")


@pytest.mark.parametrize("how", ["FAILED", "NODE_FAIL", "COMPLETED"])
def test_a_job_that_began_by_the_accounts_and_said_nothing_has_failed(folder, how):
    state = state_of(folder, {("b-1", 4): how})
    assert state.kind == "failed" and "is the results folder shared with the nodes?" in state.reason


def test_a_job_that_said_something_has_failed(folder):
    (folder.parent.parent / "said").mkdir()
    (folder.parent.parent / "said" / "7_4_0_log.err").write_text("no room")
    state = state_of(folder)
    assert state.kind == "failed" and "ended before the run began" in state.reason


def test_a_run_that_was_heard_of_has_died(folder):
    write_heartbeat(folder, Heartbeat(state="running", updated=time.time() - 100, host="elsewhere", pid=1))
    state = state_of(folder)
    assert state.kind == "failed" and "died without a word" in state.reason


def test_status_says_what_is_to_be_done_and_the_run_is_open_again(folder):
    book = Ledger(folder.parent.parent, Forgetful)
    state = book.state_of_folder(folder)

    class Selection:
        study = type("Study", (), {"title": "Table"})

    told = render(Selection, {("ViT", "msmt", 0): state}, book, folder.parent.parent)
    assert "0 of 1 done, 1 cancelled" in told and f"cancelled: {folder.name}: its job was cancelled or lost" in told

    class Task:
        cell, lists = folder.name, False

        def has_nothing_to_test(self, record) -> bool:
            return False

        def is_finished(self, record) -> bool:
            return False

    Task.folder = folder
    assert [task.cell for task in sort_tasks([Task()], book).open] == [folder.name]


def test_accounts_are_asked_only_for_jobs_that_no_record_has_outlived(folder):
    results, scheduler = folder.parent.parent, Forgetful()
    done = run(results, cells("ViT")[1], both((0.5, 0.4), (0.6, 0.5)))
    give_job(results / "runs" / done.cell, index=9, submitted=time.time() - 9000)
    Ledger(results, lambda: scheduler).state_of_folder(folder)
    assert [job.index for job in scheduler.asked] == [4]


@pytest.mark.parametrize(
    ("identity", "indices"),
    [("7", {0, 1, 2, 3}), ("7_3", {3}), ("7_[0-2]", {0, 1, 2}), ("7_[0,2-3,8%2]", {0, 2, 3}), ("7_odd", {0, 1, 2, 3})],
)
def test_jobs_of_an_array_that_never_began_are_one_line_in_the_accounts(played_slurm, identity, indices):
    """Without a place it stands for them all: they were cancelled as soon as they were there."""
    played_slurm(sacct=f"echo 'b-1|{identity}|CANCELLED by 0'")
    jobs = [Job(cluster="slurm", name="b-1", index=index, folder="", submitted=time.time()) for index in range(4)]
    assert ends(jobs) == {("b-1", index): "CANCELLED by 0" for index in indices}


def test_accounts_are_asked_by_number_since_a_time_alone_leaves_out_what_never_began(played_slurm, tmp_path):
    asked = tmp_path / "asked"
    played_slurm(sacct=f'echo "$@" >> {asked}; case "$*" in *--jobs=7*) echo "b-1|7_[0-4]|CANCELLED by 0";; esac')
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "7_submission.sh").touch()
    known = Job(cluster="slurm", name="b-1", index=4, folder=str(tmp_path / "0"), submitted=time.time())
    lost = Job(cluster="slurm", name="b-2", index=0, folder=str(tmp_path / "1"), submitted=time.time())
    assert ends([known, lost])["b-1", 4] == "CANCELLED by 0"
    first, second = asked.read_text().splitlines()
    assert "--name=b-1" in first and "--name=b-2" in second and "--jobs" not in second
