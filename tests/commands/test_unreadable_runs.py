"""`bench status`, `logs`, `cancel` and `run --dry-run` where files of runs cannot be read."""

from __future__ import annotations

import errno
import json
import time

import pytest
from damaged import DAMAGES, REFUSALS, refuse
from made_up_runs import both, cells, run

from bench.journal.heartbeat import Heartbeat, record_stamp, write_heartbeat
from bench.journal.record import RECORD, STARTED, Started, write_started
from bench.running.jobs import JOB
from bench.study.plan import cell_id, resolve

ASKED = ("--variants", "ViT,cosine", "--seeds", "2")


@pytest.fixture
def folder_of(tmp_path):
    """The folders of finished runs of ViT and cosine, by label and seed, as runs leave them."""
    folders = {}
    for cell in [*cells("ViT")[:2], *cells("cosine")[:2]]:
        config = resolve(cell.config, "cuda", "bf16")
        name = cell_id(config, cell.numerics, "f" * 64)
        run(tmp_path, cell, both((0.3, 0.2), (0.7, 0.4)), name=name)
        folders[cell.label, cell.config.seed] = tmp_path / "runs" / name
        write_started(tmp_path / "runs" / name, Started(label=cell.label, config=config, numerics=cell.numerics))
    return lambda label, seed=0: folders[label, seed]


@pytest.fixture
def status(bench, tmp_path):
    def call(*asked):
        found = bench("status", "--results", tmp_path, *(asked or ASKED))
        assert "Traceback" not in found.err
        return found

    return call


@pytest.mark.parametrize("damage", DAMAGES)
def test_status_shows_the_others_and_names_the_bad_one(damage, folder_of, status):
    path = folder_of("ViT") / RECORD
    DAMAGES[damage][0](path)
    found = status()
    assert found.code == 1 and "3 of 4 done, 1 unreadable" in found.out
    assert next(line for line in found.out.splitlines() if line.startswith("ViT")).split()[-2:] == [
        "unreadable",
        "done",
    ]
    last = found.out.rstrip().splitlines()[-1]
    assert str(path) in last and DAMAGES[damage][1] in last


@pytest.mark.parametrize("number", REFUSALS)
def test_status_goes_on_where_the_system_refuses(number, folder_of, status, monkeypatch):
    refuse(folder_of("ViT") / RECORD, number, monkeypatch)
    found = status()
    assert found.code == 1 and "3 of 4 done, 1 unreadable" in found.out and REFUSALS[number] in found.out


def test_a_heartbeat_does_not_hide_that_a_record_may_not_be_read(folder_of, status, monkeypatch):
    folder = folder_of("ViT")
    said = Heartbeat(state="done", updated=time.time(), host="here", pid=1, record_stamp=record_stamp(folder))
    write_heartbeat(folder, said)
    assert status().code == 0
    monkeypatch.setattr("bench.running.ledger.os.access", lambda path, _: path != folder / RECORD)
    refuse(folder / RECORD, errno.EACCES, monkeypatch)
    assert status().code == 1


def test_a_bad_record_of_a_run_that_is_not_asked_for_is_no_fault(folder_of, status):
    (folder_of("ViT") / RECORD).write_text("{")
    assert status("--variants", "cosine", "--seeds", "2").code == 0


def test_a_folder_that_says_nothing_of_itself_counts_as_what_its_name_says(folder_of, status):
    folder = folder_of("ViT")
    for name in (RECORD, STARTED):
        (folder / name).write_text("?")
    found = status()
    assert found.code == 1 and "2 files were passed over" in found.out and "1 unreadable" in found.out
    assert status("--variants", "cosine", "--seeds", "2").code == 0


def test_a_damaged_account_of_a_start_costs_nothing_beside_a_record(folder_of, status):
    for damage, (spoil, _) in DAMAGES.items():
        if damage != "endless":
            write_started(folder_of("ViT"), Started(**_started(folder_of("cosine"))))
            spoil(folder_of("ViT") / STARTED)
            assert status().code == 0, damage
            _remove(folder_of("ViT") / STARTED)


def test_a_job_that_cannot_be_read_is_told_for_what_is_not_done(folder_of, status):
    for label in ("ViT", "cosine"):
        (folder_of(label) / JOB).write_text('{"cluster": "moon"}')
    (folder_of("ViT") / RECORD).unlink()
    found = status()
    assert found.code == 1 and "3 of 4 done, 1 unreadable" in found.out and "job.json" in found.out


def test_a_dry_run_goes_on_and_names_the_bad_one(folder_of, bench, tmp_path):
    (folder_of("ViT") / RECORD).write_text("{")
    found = bench("run", "--dry-run", "--results", tmp_path, *ASKED)
    assert found.code == 1 and "4 runs" in found.out and "record.json is damaged" in found.out
    assert [line.split()[-1] for line in found.out.splitlines()[:4]] == ["unreadable", "done", "done", "done"]


def test_logs_and_cancel_say_so(folder_of, bench, tmp_path):
    folder = folder_of("ViT")
    (folder / RECORD).write_text("{")
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    found = bench("logs", folder.name, "--results", tmp_path)
    assert found.code == 1 and "record.json is damaged" in found.out and '{"epoch": 1}' in found.out
    found = bench("cancel", "--results", tmp_path, *ASKED)
    assert found.code == 0 and "0 cancelled" in found.out and "record.json is damaged" in found.out


def test_a_log_that_cannot_be_read_costs_no_other(folder_of, bench, tmp_path):
    folder = folder_of("ViT")
    (folder / "log.jsonl").mkdir()
    (folder / "error.log").write_bytes(b"Traceback \xff\xfe\n")
    found = bench("logs", folder.name, "--results", tmp_path)
    assert found.code == 1 and "cannot be read (Is a directory)" in found.out and "Traceback \ufffd" in found.out


def _started(folder) -> dict:
    return json.loads((folder / STARTED).read_text())


def _remove(path) -> None:
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
