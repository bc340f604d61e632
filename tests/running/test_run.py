"""`bench run`, `status`, `list` and `report` from end to end on tiny stand-in data."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import apart
import pytest
from places import ROOT
from standing_head import standing_head
from waiting import wait_for

from bench.cli import COMMANDS
from bench.journal.record import Record, cell_lock, read_records


def records_of(results: Path) -> dict[str, Record]:
    return {record.label: record for record in read_records(results)}


def accuracies(record: Record) -> list:
    return [(item.test, item.state, item.first_rank, item.average_precision) for item in record.tests]


@pytest.fixture
def run(bench, tiny_data, tmp_path):
    """`bench run` of ViT (unless told otherwise) on tiny data into a fresh folder."""

    def call(*arguments, results=None, rows="ViT"):
        return bench(
            "run", "--variants", rows, "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data,
            "--results", results or tmp_path / "results", *arguments,
        )  # fmt: skip

    return call


def test_every_row_has_a_full_record(finished):
    records = records_of(finished)
    assert len(records) == 9
    for record in records.values():
        assert record.status == "done" and record.standin == "stand-in data (tiny, seed 0)"
        assert {(item.test, item.state) for item in record.tests} == {
            (test, state) for test in ("cuhk03", "market") for state in ("trained", "untrained")
        }
        assert record.steps == 6 and record.training_seconds > 0 and record.peak_bytes > 50 * 2**20
        assert record.bytes_per_image > 0 and record.parameters["backbone"] > record.parameters["head"] > 0
        assert len(record.provenance.commit) in (7, 40) and "torch" in record.provenance.versions
        for item in record.tests:
            assert len(item.first_rank) == len(item.average_precision) == 8 and item.pixels is not None
            assert item.mAP == pytest.approx(sum(item.average_precision) / 8)


def test_heads_that_see_pairs_keep_more_bytes_than_vectors(finished):
    records = records_of(finished)
    assert records["ViT"].bytes_per_image == 4 * 16
    assert records["TransMatcher"].bytes_per_image == 4 * 16 * 2 * 3


def test_finished_runs_are_skipped(finished, run):
    before = {path: path.read_bytes() for path in finished.glob("runs/*/record.json")}
    again = run(results=finished, rows="all")
    assert again.code == 0 and "0 done, 9 skipped" in again.out
    assert {path: path.read_bytes() for path in finished.glob("runs/*/record.json")} == before


@pytest.mark.slow
def test_the_same_command_gives_the_same_bits_whatever_the_workers(finished, run, tmp_path):
    assert run("--workers", "1", "--jobs", "1", rows="TransMatcher,Transformer-Cat").code == 0
    for label, record in records_of(tmp_path / "results").items():
        other = records_of(finished)[label]
        assert record.cell == other.cell and record.weights_hash == other.weights_hash
        assert accuracies(record) == accuracies(other)


def test_a_further_test_set_is_added_without_training_again(finished, run, tmp_path):
    results = tmp_path / "copy"
    before = records_of(finished)["ViT"]
    shutil.copytree(finished / "runs" / before.cell, results / "runs" / before.cell)
    assert run("--test", "msmt", results=results).code == 0
    after = records_of(results)["ViT"]
    assert accuracies(after)[:4] == accuracies(before)
    assert [(item.test, item.state) for item in after.tests[4:]] == [("msmt", "trained"), ("msmt", "untrained")]
    assert after.provenance == before.provenance


@pytest.mark.slow
def test_one_failed_cell_does_not_stop_the_others(run, tmp_path):
    head = tmp_path / "failing.py"
    head.write_text(
        "from variants import vit\n"
        "class Failing(vit.ViT):\n"
        '    """Fails in training."""\n'
        "    def match(self, query, gallery):\n"
        "        if self.training:\n"
        "            raise RuntimeError('the dog ate the scores')\n"
        "        return super().match(query, gallery)\n"
    )
    found = run(rows=f"{head},cosine")
    assert found.code == 1
    assert "1 done, 0 skipped, 1 failed" in found.out and "the dog ate the scores" in found.out
    records = records_of(tmp_path / "results")
    assert records["cosine"].status == "done" and records["failing"].status == "failed"
    assert records["failing"].failure.phase == "training" and "dog" in records["failing"].failure.reason
    log = tmp_path / "results" / "runs" / records["failing"].cell / "error.log"
    assert "Traceback" in log.read_text() and "Traceback" not in found.err
    status = run("--dry-run", rows=f"{head},cosine")
    assert [line.split("   ")[-1] for line in status.out.splitlines()[:2]] == ["failed", "done"]


@pytest.mark.slow
def test_a_cell_that_is_killed_is_a_failed_record_with_its_signal(run, tmp_path):
    head = tmp_path / "dying.py"
    head.write_text(
        "import os\n"
        "from variants import vit\n"
        "class Dying(vit.ViT):\n"
        '    """Is killed in training."""\n'
        "    def match(self, query, gallery):\n"
        "        if self.training:\n"
        "            os.kill(os.getpid(), 9)\n"
        "        return super().match(query, gallery)\n"
    )
    found = run(rows=f"{head},cosine")
    assert found.code == 1 and "1 done" in found.out
    assert "SIGKILL (out of memory?)" in records_of(tmp_path / "results")["dying"].failure.reason


KILLED_IN_A_TEST = """
import os
from variants import vit
class Fragile(vit.ViT):
    'Fails in evaluation of larger sets while a file is there.'
    def match(self, query, gallery):
        if not self.training and len(gallery) == 27 and os.path.exists({flag!r}):
            {action}
        return super().match(query, gallery)
"""


@pytest.mark.slow
@pytest.mark.parametrize("action", ["os.kill(os.getpid(), 9)", "raise RuntimeError('the cat walked over it')"])
def test_what_was_reached_before_a_test_failed_is_kept(run, tmp_path, action):
    """market, the second test set, has 27 gallery images."""
    flag, head = tmp_path / "flag", tmp_path / "fragile.py"
    flag.touch()
    head.write_text(KILLED_IN_A_TEST.format(flag=str(flag), action=action))
    assert run(rows=head).code == 1
    failed = records_of(tmp_path / "results")["fragile"]
    assert failed.status == "failed" and failed.weights_hash and failed.failure.reason
    assert [(item.test, item.state) for item in failed.tests] == [("cuhk03", "trained")]
    flag.unlink()
    assert run(rows=head).code == 0
    done = records_of(tmp_path / "results")["fragile"]
    assert done.status == "done" and done.failure is None and len(done.tests) == 4
    assert done.tests[0] == failed.tests[0] and done.weights_hash == failed.weights_hash
    assert done.provenance == failed.provenance


@pytest.mark.slow
def test_rows_of_the_same_configuration_are_one_run(run):
    same = ("--set", "width=16", "--set", "options.feedforward=32", "--set", "options.layers=2")
    found = run(*same, "--train", "msmt, msmt", rows="transmatcher")
    assert found.code == 0 and "1 done, 0 skipped, 0 failed" in found.out


@pytest.mark.slow
def test_a_failed_cell_is_run_again(finished, run, tmp_path):
    done = records_of(finished)["cosine"]
    folder = tmp_path / "results" / "runs" / done.cell
    folder.mkdir(parents=True)
    values = json.loads((finished / "runs" / done.cell / "record.json").read_text())
    values |= {
        "status": "failed",
        "tests": [],
        "weights_hash": None,
        "failure": {"phase": "training", "reason": "a broken node"},
    }
    (folder / "record.json").write_text(json.dumps(values))
    assert run(rows="cosine").code == 0
    again = records_of(tmp_path / "results")["cosine"]
    assert again.status == "done" and again.weights_hash == done.weights_hash


@pytest.mark.slow
def test_an_interrupted_command_goes_on_where_it_was(tiny_data, run, tmp_path):
    """Told to leave by SIGINT in its second epoch, it ends with the bits of an undisturbed one."""
    head, longer = standing_head(tmp_path), ("--set", "training.epochs=3")
    flag, results = tmp_path / "stand-still", tmp_path / "results"
    command = apart.bench(
        "run", "--variants", head, "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data, "--results", results,
        *longer,
    )  # fmt: skip
    wait_for("the first epoch", lambda: list(results.glob("runs/*/log.jsonl")))
    command.signal(signal.SIGINT)
    done = command.wait()
    assert done.code == 130 and "goes on where it was" in done.err and "Traceback" not in done.err
    assert not list(results.glob("runs/*/record.json"))
    flag.unlink(missing_ok=True)
    assert "interrupted" in run("--dry-run", *longer, rows=head).out
    assert run(*longer, rows=head).code == 0
    assert run(*longer, rows=head, results=tmp_path / "whole").code == 0
    resumed, whole = records_of(results)["standing"], records_of(tmp_path / "whole")["standing"]
    assert resumed.provenance.segments > whole.provenance.segments == 1
    assert resumed.weights_hash == whole.weights_hash and accuracies(resumed) == accuracies(whole)


@pytest.mark.slow
def test_a_cell_that_another_process_runs_is_left_alone(finished, run, tmp_path):
    done = records_of(finished)["cosine"]
    folder = tmp_path / "results" / "runs" / done.cell
    folder.mkdir(parents=True)
    with cell_lock(folder) as mine:
        assert mine
        found = run(rows="cosine")
    assert found.code == 0 and "another process is running it" in found.out
    assert not (folder / "record.json").exists()


def test_status_shows_the_grid(finished, bench, tiny_data):
    found = bench("status", "--preset", "tiny", "--seeds", "2", "--results", finished, "--data-dir", tiny_data)
    assert found.code == 0 and "9 of 18 done" in found.out
    row = next(line for line in found.out.splitlines() if line.startswith("TransMatcher small"))
    assert row.split()[-2:] == ["done", "missing"]


def test_dry_run_lists_and_runs_nothing(run, tmp_path):
    found = run("--dry-run", "--seeds", "2", rows="all")
    assert found.code == 0 and found.out.count("missing") == 18
    assert not (tmp_path / "results").exists()


def test_dry_run_knows_which_tests_are_missing(finished, run):
    assert "done but for msmt" in run("--dry-run", "--test", "market,msmt", results=finished).out
    refused = run("--dry-run", "--test", "randperson", results=finished)
    assert refused.code == 2 and "randperson has no query" in refused.err


def test_status_points_to_the_runs_that_are_there(finished, bench):
    found = bench("status", "--results", finished)
    assert "0 of 36 done" in found.out and "9 other runs are there: --preset tiny" in found.out


def test_list_shows_heads_studies_data_and_presets(bench):
    found = bench("list")
    assert found.code == 0
    for word in ("transformer_cross_shared", "fusion=none", "table3", "randperson", "demo", "tiny"):
        assert word in found.out


@pytest.mark.slow
def test_report_draws_the_table(finished, bench, tmp_path):
    shutil.copytree(finished / "runs", tmp_path / "runs")
    found = bench("report", "--results", tmp_path)
    assert found.code == 0
    assert "STAND-IN DATA" in found.out and "TransMatcher" in found.out and "44.29" in found.out
    files = {path.suffix for path in (tmp_path / "report").iterdir()}
    assert files >= {".md", ".tex", ".csv", ".png", ".pdf"}
    assert "stand-in" in (tmp_path / "report" / "report.md").read_text().lower()


@pytest.mark.slow
def test_check_head_tells_sound_from_broken(bench, tmp_path):
    assert bench("check-head", "cosine").code == 0
    path = tmp_path / "broken.py"
    scores = "query.feature @ gallery.feature.T"
    source = (ROOT / "variants" / "cosine.py").read_text()
    path.write_text(source.replace(scores, f"{scores} + query.feature[:, :1]"))
    found = bench("check-head", path)
    assert found.code == 1 and "broken  declared symmetry holds" in found.out


@pytest.mark.parametrize("command", ["--help", "list", "status"])
def test_answers_within_a_second_of_the_cpus_time(command, tmp_path):
    # Not of the clock's: other processes may have the CPU for a while.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "bench", command], check=True, capture_output=True, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.parametrize(
    "command",
    sorted(COMMANDS),
)
def test_every_commands_help_shows_an_example(bench, command):
    found = bench(command, "--help")
    assert found.code == 0 and "example" in found.out and f"bench {command}" in found.out
