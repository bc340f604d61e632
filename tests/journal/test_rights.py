"""What runs leave may be read and written by whom the umask lets: colleagues share results folders."""

from __future__ import annotations

import os
import stat
import time

import pytest
import torch
from made_up_runs import both, cells, run

from bench.journal.checkpoint import save_checkpoint
from bench.journal.heartbeat import Heartbeat, write_heartbeat
from bench.journal.record import CHECKPOINT, Started, cell_lock, write_started
from bench.perf.records import PerfRecord, PerfSizes, write_perf
from bench.running.jobs import Job, write_job
from bench.running.preflight import check_writable
from bench.testing.spill import SpilledRepr
from slurm.snapshot import freeze, keep_head
from variants._base import Repr


@pytest.fixture(params=[0o002, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_every_file_and_folder_of_a_results_folder_has_the_rights_of_the_umask(umask, tmp_path):
    results = tmp_path / "results"
    check_writable(results / "runs")
    cell = cells("ViT")[0]
    record = run(results, cell, both((0.3, 0.2), (0.7, 0.4)))
    folder = results / "runs" / record.cell
    write_started(folder, Started(label="ViT", config=cell.config, numerics=cell.numerics))
    write_heartbeat(folder, Heartbeat(state="running", updated=time.time(), host="h", pid=1))
    write_job(folder, Job(cluster="slurm", name="b", folder="f", submitted=1.0))
    save_checkpoint(folder / CHECKPOINT, {"value": torch.ones(1)})
    sizes = PerfSizes(batch=1, tokens=1, width=1, feedforward=1, layers=1)
    write_perf(results, PerfRecord(sizes=sizes, threads=1, repeats=1, provenance=record.provenance, comparisons=[]))
    one = Repr(feature=torch.zeros(1, 4))
    spilled = [SpilledRepr(folder, 3, one, "key"), SpilledRepr(folder, 3, one)]
    head = tmp_path / "mine.py"
    head.touch()
    keep_head(str(head), freeze(results).path)
    with cell_lock(folder):
        found = [results, *results.rglob("*")]
        assert len(found) > 50 and len([path for path in found if path.suffix == ".bin"]) == 2
        for path in found:
            assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path
    for each in spilled:
        each.close()
