"""Which nodes are left out, by what runs say of them and by how they fare elsewhere."""

from __future__ import annotations

import pytest

from bench.journal.starts import Start, add_start, end_start, read_starts
from bench.running.jobs import Entry
from bench.running.ledger import CellState, Ledger
from bench.running.nodes import FOR_ALL, REMEMBERED_DAYS, bad_nodes, fails_anywhere, left_out, lies_with_node
from bench.running.troubles import troubles

DAY = 86400.0
NOW = 1000 * DAY


@pytest.mark.parametrize(
    "words",
    [
        "cuda:0 cannot be used: no GPU is shown to this process",
        "RuntimeError: No CUDA GPUs are available",
        "AcceleratorError: CUDA error: no CUDA-capable device is detected",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "NVRM: Xid (PCI:0000:c1:00): 79, GPU has fallen off the bus.",
        "OSError: [Errno 5] Input/output error: '/scratch/cache.npy'",
        "its process was ended by SIGBUS",
        "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
    ],
)
def test_what_may_lie_with_a_node_is_known_by_its_words(words):
    assert lies_with_node(words)


@pytest.mark.parametrize(
    "words",
    [
        "RuntimeError: shape '[3]' is invalid for input of size 4",
        "out of memory in training: a step is predicted to take 90.0 GiB, and 79.1 GiB were free on the GPU",
        "training: the loss is not finite at step 7",
        "RuntimeError: CUDA error: device-side assert triggered",
        "maxidle is no option",
    ],
)
def test_a_runs_own_faults_do_not(words):
    assert not lies_with_node(words)


def start(node: str, how: str = "node", age: float = 1.0, worked: bool = False, reason: str = "no GPU") -> Start:
    """A start `age` hours ago."""
    began = NOW - 3600 * age
    return Start(job="7", node=node, began=began, ended=began + 60, how=how, worked=worked, reason=reason)


def names(starts: dict[str, list[Start]]) -> list[str]:
    return [node.name for node in bad_nodes(starts, NOW)]


def test_a_node_is_left_out_of_the_next_start_of_the_run_that_it_failed():
    bad = bad_nodes({"a": [start("n1")], "b": [start("n2", "done", worked=True)]}, NOW)
    assert left_out("a", bad) == ["n1"] and left_out("b", bad) == []
    assert "node n1 failed 1 start, the last at " in str(bad[0]) and "(a: no GPU)" in str(bad[0])


def test_after_three_it_is_left_out_of_all():
    starts = {name: [start("n1")] for name in "abc"[:FOR_ALL]}
    bad = bad_nodes(starts, NOW)
    assert left_out("other", bad) == ["n1"] and "the next starts of all runs are kept off it" in str(bad[0])
    del starts["c"]
    assert left_out("other", bad_nodes(starts, NOW)) == []


def test_a_node_that_runs_another_since_is_good_again():
    failed = {"a": [start("n1", age=5)]}
    assert names(failed | {"b": [start("n1", "done", age=9, worked=True)]}) == ["n1"]
    assert names(failed | {"b": [start("n1", "done", age=1, worked=True)]}) == []
    assert names(failed | {"b": [start("n1", "failed", age=1)]}) == ["n1"]  # it got nowhere either


def test_what_fails_alike_on_three_nodes_is_the_runs_own_fault():
    own = [start(node, age=age) for node, age in (("n1", 3), ("n2", 2), ("n3", 1))]
    assert fails_anywhere(own) and not fails_anywhere(own[:2])
    assert names({"a": own}) == []
    # So is the same of others, which were not tried as often.
    assert names({"a": own, "b": [start("n1")]}) == []
    assert names({"a": own, "b": [start("n1", reason="fallen off the bus")]}) == ["n1"]


def test_it_was_the_nodes_where_the_run_works_elsewhere_at_last():
    own = [start(node, age=age) for node, age in (("n1", 4), ("n2", 3), ("n3", 2))]
    own.append(start("n4", "done", worked=True))
    assert not fails_anywhere(own) and names({"a": own}) == ["n1", "n2", "n3"]


def test_a_silent_death_at_the_start_counts_where_another_node_runs_it():
    died = start("n1", "died", age=3)
    assert names({"a": [died]}) == []
    assert names({"a": [died, start("n1", "done", worked=True)]}) == []
    assert names({"a": [died, start("n2", "done", worked=True)]}) == ["n1"]
    midway = start("n1", "died", age=3, worked=True)
    assert names({"a": [midway, start("n2", "done", worked=True)]}) == []


def test_a_node_is_forgotten_after_some_days():
    assert names({"a": [start("n1", age=24 * REMEMBERED_DAYS - 1)]}) == ["n1"]
    assert names({"a": [start("n1", age=24 * REMEMBERED_DAYS + 1)]}) == []


def test_a_start_that_nobody_ended_died_with_its_job(tmp_path):
    add_start(tmp_path, Start(job="7", node="n1", began=1.0))
    add_start(tmp_path, Start(job="7", node="n2", began=2.0))
    end_start(tmp_path, "done")
    assert [(one.node, one.how, one.worked) for one in read_starts(tmp_path)] == [
        ("n1", "died", False),
        ("n2", "done", False),
    ]


def test_a_damaged_account_of_starts_is_made_anew(tmp_path):
    (tmp_path / "starts.json").write_text("{")
    assert read_starts(tmp_path) == []
    add_start(tmp_path, Start(job="7", node="n1", began=1.0))
    assert len(read_starts(tmp_path)) == 1


class Drained:
    """A cluster with a node out of use."""

    def drained(self) -> dict[str, str]:
        return {"n1": "Prolog error"}


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("launch failed requeued held", "a prolog failed there, and SLURM holds it: `bench cancel` and `bench run`"),
        ("launch_failed_requeued_held", "a prolog failed there"),
        ("BadConstraints", "no node that it may have has what it asks for"),
        ("JobHeldUser", "scontrol release"),
    ],
)
def test_a_job_that_waits_in_vain_is_told_with_what_to_do(reason, words, tmp_path):
    waiting = CellState("queued", folder=tmp_path / "vit-msmt-s0", entry=Entry("17_4", "PENDING", reason))
    lines = troubles([waiting], Ledger(tmp_path, Drained))
    assert words in lines[0] and lines[0].startswith("waits in vain: vit-msmt-s0 (job 17_4, SLURM: ")
    assert lines[1:] == (["node n1 is out of use (SLURM: Prolog error)"] if "launch" in reason else [])


def test_jobs_that_wait_for_their_turn_are_not_in_trouble(tmp_path):
    waiting = CellState("queued", folder=tmp_path, entry=Entry("17_4", "PENDING", "Priority"))
    assert troubles([waiting, CellState("missing")], Ledger(tmp_path, Drained)) == []


def test_why_a_run_is_queued_again_is_told(tmp_path):
    entry = Entry("17_4", "PENDING", "BeginTime")
    waiting = CellState("queued", reason="killed for memory", folder=tmp_path / "vit-msmt-s0", entry=entry)
    assert troubles([waiting], Ledger(tmp_path, Drained)) == ["queued again: vit-msmt-s0: killed for memory"]
