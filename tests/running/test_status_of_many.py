"""Hundreds of cells are told within the two seconds in which `bench status` answers."""

from __future__ import annotations

import time
from types import SimpleNamespace

from made_up_runs import both, run

from bench.journal.heartbeat import Heartbeat, Place, record_stamp, write_heartbeat
from bench.journal.record import Started, write_started
from bench.running.jobs import Entry, Job, write_job
from bench.running.ledger import Ledger
from bench.study.definition import load_preset, load_study
from bench.study.plan import cell_id, plan, resolve

PLACE = Place(phase="training", epoch=3, epochs=15, done=30, total=150)


def test_two_hundred_cells_in_all_states_take_half_a_second_of_the_cpu(tmp_path):
    cells = plan(load_study("table2"), load_preset("tiny"), {}, seeds=range(23))[:200]
    entries, now = {}, time.time()
    for number, cell in enumerate(cells):
        config = resolve(cell.config, "cpu")
        folder = tmp_path / "runs" / cell_id(config, cell.numerics, "f" * 64)
        folder.mkdir(parents=True)
        write_started(folder, Started(label=cell.label, config=config, numerics=cell.numerics))
        write_job(folder, Job(cluster="slurm", name="b-1", index=number, folder=str(tmp_path), submitted=now - 600))
        state = ("done", "running", "preempted", "")[number % 4]
        if state == "done":
            run(tmp_path, cell, both((0.5, 0.4), (0.6, 0.5)), name=folder.name, config=config)
        if state:
            told = {"tests": ["cuhk03", "market"], "record_stamp": record_stamp(folder)} if state == "done" else {}
            write_heartbeat(folder, Heartbeat(state=state, updated=now, host="node7", pid=1, place=PLACE, **told))
        if state != "done":
            entries["b-1", number] = Entry(f"7_{number}", "RUNNING" if state == "running" else "PENDING", "None")
    began = time.process_time()
    book = Ledger(tmp_path, lambda: SimpleNamespace(queue=lambda: entries))
    kinds = [book.state_of(cell).kind for cell in cells]
    assert time.process_time() - began < 0.5
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(("done", "running", "preempted", "queued"), 50)
