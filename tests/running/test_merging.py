"""Runs of several results folders in one: each whole, each once, none overwritten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from made_up_runs import both, cells, run

from bench.errors import CellFailed
from bench.journal.record import LOCK, cell_lock, read_record, read_records
from bench.running import merging
from bench.running.merging import merge

NUMBERS = both((0.3, 0.2), (0.7, 0.4))
OTHERS = both((0.3, 0.2), (0.7, 0.41))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Here: ViT with seed 0; there: ViT with seeds 0 (the same) and 1, with all that lies beside a record."""
    here, there = tmp_path / "here", tmp_path / "there"
    first, second, *_ = cells("ViT")
    run(here, first, NUMBERS)
    run(there, first, NUMBERS, provenance={"device": "NVIDIA H100"})
    folder = there / "runs" / run(there, second, NUMBERS, provenance={"device": "NVIDIA H100"}).cell
    for name in ("checkpoint.pt", "log.jsonl", "heartbeat.json", LOCK, "job.json", ".record.json.77-ab"):
        (folder / name).write_text(name)
    (folder / "lists").mkdir()
    (folder / "lists" / "market.npz").write_text("ranked")
    return here, there


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_comes_whole_and_one_that_is_there_is_kept_once(two):
    here, there = two
    before = everything(there)
    found = merge(here, [there])
    assert (found.taken, found.kept) == (["ViT-msmt-1"], ["ViT-msmt-0"])
    assert not found.conflicts and not found.obstacles
    names = {
        path.relative_to(here / "runs" / "ViT-msmt-1").as_posix() for path in (here / "runs" / "ViT-msmt-1").rglob("*")
    }
    assert names == {"record.json", "checkpoint.pt", "log.jsonl", "heartbeat.json", "lists", "lists/market.npz"}
    assert [record.provenance.device for record in read_records(here)] == ["NVIDIA H200", "NVIDIA H100"]
    assert everything(there) == before and [path.name for path in here.iterdir()] == ["runs"]
    again = merge(here, [there])
    assert (again.taken, again.kept) == ([], ["ViT-msmt-0", "ViT-msmt-1"])


def test_other_numbers_are_told_with_both_and_nothing_is_overwritten(bench, two, tmp_path):
    here, there = two
    run(there, cells("ViT")[0], OTHERS, provenance={"device": "NVIDIA H100"})
    before = everything(here / "runs" / "ViT-msmt-0")
    found = bench("merge", there, "--results", here)
    assert found.code == 1 and "1 taken" in found.out and "1 with other numbers" in found.out
    line = next(line for line in found.out.splitlines() if line.startswith("other numbers: ViT-msmt-0"))
    assert "mAP 40.0000 here, Rank-1 70.0000 mAP 41.0000 there" in line
    assert "NVIDIA H200" in line and "NVIDIA H100" in line
    assert everything(here / "runs" / "ViT-msmt-0") == before


def test_other_weights_or_other_test_data_are_other_numbers(two):
    here, there = two
    run(there, cells("ViT")[0], NUMBERS, weights_hash="1" * 64)
    run(there, cells("ViT")[1], NUMBERS)
    run(here, cells("ViT")[1], [result.model_copy(update={"fingerprint": "other"}) for result in NUMBERS])
    found = merge(here, [there]).conflicts
    assert "weights 00000000 here, 11111111 there" in found[0] and "market is other data there" in found[1]


def test_of_two_others_with_other_numbers_the_first_is_taken_and_a_dry_run_says_so(bench, two, tmp_path):
    here, there = two
    third = tmp_path / "third"
    run(third, cells("ViT")[1], OTHERS)
    before = everything(here)
    dry = bench("merge", there, third, "--results", here, "--dry-run")
    assert dry.code == 1 and "would be taken: ViT-msmt-1" in dry.out and everything(here) == before
    real = bench("merge", there, third, "--results", here)
    assert real.code == 1 and real.out.replace("taken", "would be taken").splitlines()[0] == dry.out.splitlines()[0]
    assert "1 taken" in real.out and "other numbers: ViT-msmt-1" in real.out


def test_only_finished_runs_are_taken(two):
    here, there = two
    run(there, cells("ViT")[2], NUMBERS, status="trained")
    (there / "runs" / "begun").mkdir()
    assert merge(here, [there]).unfinished == 2
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["ViT-msmt-0", "ViT-msmt-1"]


def test_a_run_that_is_begun_here_stays_as_it_is(two):
    here, there = two
    begun = here / "runs" / "ViT-msmt-1"
    begun.mkdir()
    (found,) = merge(here, [there]).obstacles
    assert f"{begun} is there and not finished" in found
    with cell_lock(begun):
        (found,) = merge(here, [there]).obstacles
    assert "at work" in found and [path.name for path in begun.iterdir()] == [LOCK]


def test_a_run_that_is_at_work_there_is_left_alone(two):
    here, there = two
    with cell_lock(there / "runs" / "ViT-msmt-1"):
        found = merge(here, [there])
    assert not found.taken and "at work" in found.obstacles[0]


def test_what_cannot_be_read_costs_its_own_run_alone(two):
    here, there = two
    (there / "runs" / "ViT-msmt-0" / "record.json").write_text("{")
    shutil.copytree(there / "runs" / "ViT-msmt-1", there / "runs" / "renamed")
    found = merge(here, [there])
    assert found.taken == ["ViT-msmt-1"] and len(found.obstacles) == 2
    assert "record of ViT-msmt-1" in found.obstacles[1]


def test_a_copy_that_fails_half_way_is_no_run_and_what_a_dead_process_left_goes(two, monkeypatch):
    here, there = two
    (there / "runs" / "ViT-msmt-1" / "gone").symlink_to(there / "nowhere")
    found = merge(here, [there])
    assert not found.taken and "cannot be copied whole" in found.obstacles[0]
    assert [path.name for path in (here / "runs").iterdir()] == ["ViT-msmt-0"]
    (there / "runs" / "ViT-msmt-1" / "gone").unlink()

    def dies(*_: object) -> None:
        raise CellFailed("no power")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dies)
        patch.setattr(merging.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(CellFailed):
            merge(here, [there])
    assert [path.name for path in (here / "runs").iterdir()] == ["ViT-msmt-0"]
    assert (here / "merging" / "ViT-msmt-1" / "record.json").is_file()
    assert merge(here, [there]).taken == ["ViT-msmt-1"] and not (here / "merging").exists()


def test_a_run_that_changes_while_it_is_copied_is_not_taken(two, monkeypatch):
    here, there = two
    copy = shutil.copytree

    def slow(source: Path, *others: object, **more: object) -> None:
        copy(source, *others, **more)
        run(there, cells("ViT")[1], OTHERS)

    monkeypatch.setattr(merging.shutil, "copytree", slow)
    found = merge(here, [there])
    assert not found.taken and "changed while it was copied" in found.obstacles[0]


def test_more_tests_of_the_same_network_are_told(two):
    here, there = two
    run(here, cells("ViT")[1], NUMBERS[:1])
    found = merge(here, [there])
    assert found.kept == ["ViT-msmt-0", "ViT-msmt-1"] and "tested it on market as well" in found.notes[0]


@pytest.mark.parametrize("other", ["here", "here/.", "link", "link_to_runs"])
def test_a_folder_is_not_merged_into_itself(bench, two, tmp_path, other):
    here, _ = two
    (tmp_path / "link").symlink_to(here)
    (tmp_path / "link_to_runs").mkdir()
    (tmp_path / "link_to_runs" / "runs").symlink_to(here / "runs")
    before = everything(here)
    found = bench("merge", os.path.join(tmp_path, other), "--results", here)  # noqa: PTH118 - a Path drops the dot
    assert found.code == 2 and "is the results folder that is merged into" in found.err and everything(here) == before


def test_what_is_no_results_folder_is_refused_and_so_are_two_at_a_time(bench, two, tmp_path):
    here, there = two
    found = bench("merge", tmp_path / "nowhere", "--results", here)
    assert found.code == 2 and "holds no folder runs" in found.err
    assert bench("merge", there / "runs", "--results", here).code == 2
    with merging._drafts(here):
        found = bench("merge", there, "--results", here)
    assert found.code == 2 and "another `bench merge`" in found.err


def test_into_a_folder_that_is_not_there_yet(bench, two, tmp_path):
    _, there = two
    found = bench("merge", there, "--results", tmp_path / "new" / "all")
    assert found.code == 0 and "2 taken, 0 there already" in found.out
    assert read_record(tmp_path / "new" / "all" / "runs" / "ViT-msmt-0") is not None
