"""A run whose job went back into the queue, to ask for something else, is queued, and says why."""

from __future__ import annotations

import time

import pytest

from bench.journal.heartbeat import Heartbeat, Place, write_heartbeat
from bench.journal.record import Started, write_started
from bench.running.jobs import Entry, Job, write_job
from bench.running.ledger import Ledger
from bench.study.definition import load_preset, load_study
from bench.study.plan import cell_id, plan, resolve

REASON = "killed for taking more of the machine's memory than the 8.0 GiB that its job had"


class Played:
    """A queue with one job."""

    def __init__(self, state: str) -> None:
        self.state = state

    def queue(self):
        return {("b-1", None): Entry("17", self.state, "BeginTime")}

    def ends(self, jobs):
        return {}


@pytest.mark.parametrize("state", ["COMPLETING", "PENDING"])
def test_it_is_queued_while_its_job_leaves_and_waits(state, tmp_path):
    cell = plan(load_study("table2"), load_preset("tiny"), {}, ["ViT"])[0]
    config = resolve(cell.config, "cpu")
    folder = tmp_path / "runs" / cell_id(config, cell.numerics, "f" * 64)
    write_started(folder, Started(label=cell.label, config=config, numerics=cell.numerics))
    write_job(folder, Job(cluster="slurm", name="b-1", folder=str(tmp_path), submitted=time.time() - 100))
    place = Place(phase="training", epoch=2, epochs=5)
    beat = Heartbeat(state="requeued", updated=time.time(), host="n1", pid=1, place=place, reason=REASON)
    write_heartbeat(folder, beat)
    found = Ledger(tmp_path, lambda: Played(state)).state_of(cell)
    assert str(found) == "queued, epoch 2 of 5" and found.reason == REASON and found.busy
