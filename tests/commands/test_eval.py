"""`bench eval`: weights from outside become a row of the report; what cannot be taken is told in one sentence."""

from __future__ import annotations

import os
import pickle
import signal

import pytest
import torch
from networks import fresh
from outside_checkpoints import authors_parts, tensors, wrapped, write

from bench.config import OUTSIDE
from bench.journal.record import read_records
from bench.running.trained import load_network

pytestmark = pytest.mark.slow

SIZE = ("--height", "48", "--width", "16")


@pytest.fixture
def theirs(golden, tmp_path):
    """A checkpoint of the authors' code."""
    arrays = golden("transmatcher")
    parts = authors_parts(tensors(arrays, "matcher/"), tensors(arrays, "encoder/"))
    return write(wrapped(parts), tmp_path / "theirs.pth.tar")


@pytest.fixture
def evaluated(bench, tiny_data, tmp_path):
    """Call `bench eval` on tiny data."""

    def call(checkpoint, *words, head="transmatcher", test="market"):
        return bench(
            "eval", "--checkpoint", checkpoint, "--head", head, "--test", test, "--preset", "tiny", "--device", "cpu",
            "--data-dir", tiny_data, "--results", tmp_path / "results", *words,
        )  # fmt: skip

    return call


def test_weights_from_outside_are_a_row_with_the_files_hash_and_are_tested_once(evaluated, bench, theirs, tmp_path):
    found = evaluated(theirs, *SIZE)
    assert found.code == 0, found.err
    assert "width 16, feedforward 32, layers 2" in found.out and "tested before" not in found.out
    (record,) = read_records(tmp_path / "results")
    assert record.is_done(["market"]) and record.config.train == OUTSIDE
    assert record.label == f"TransMatcher, weights {record.fingerprint[:8]}"
    assert record.provenance.weights_sha256 == record.fingerprint and record.result("market").lists

    moved = theirs.rename(tmp_path / "elsewhere.pth")
    again = evaluated(moved, *SIZE, test="market,cuhk03")
    assert again.code == 0 and again.out.count("tested before") == 1
    (later,) = read_records(tmp_path / "results")
    assert later.result("market") == record.result("market") and later.is_done(["market", "cuhk03"])

    report = bench("report", "--results", tmp_path / "results", "--out", tmp_path / "report")
    assert report.code == 0, report.err
    assert "trained on weights from outside" in report.out and record.label in report.out
    costs = report.out.split("training time")[1]
    _, _, cells = next(line for line in costs.splitlines() if record.label in line).partition("*")
    assert cells.split()[1:3] == ["·", "·"]  # training: time and peak memory


def test_a_checkpoint_of_the_suite_is_the_network_that_it_was(evaluated, tiny_config, tmp_path):
    model = fresh(tiny_config("TransMatcher")).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "checkpoint.pt")
    found = evaluated(tmp_path / "checkpoint.pt")
    assert found.code == 0, found.err
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    loaded, record = load_network(folder, "cpu")
    assert loaded.weights_hash() == model.weights_hash() == record.weights_hash
    assert record.bytes_per_image and record.training_seconds == 0


def test_an_interrupted_test_goes_on_with_the_same_command(evaluated, theirs, monkeypatch):
    def interrupted(*_arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("bench.running.cell.evaluate", interrupted)
        found = evaluated(theirs, *SIZE)
        assert found.code == 128 + signal.SIGTERM and "goes on where it was" in found.err
    assert evaluated(theirs, *SIZE).code == 0


class Code:
    """Something that only code can read."""

    def __reduce__(self):
        return (print, ("read",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"just text\n", "it is a text file, not weights"),
        (pickle.dumps({"model": Code()}), "a pickle of more than tensors"),
        (None, "No such file"),
        (b"", "it is empty"),
    ],
)
def test_files_that_are_no_weights_are_refused_in_one_sentence(evaluated, tmp_path, content, words):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    found = evaluated(path)
    assert found.code == 2 and words in found.err and found.err.count("\n") == 1, found.err
    assert found.out == "" and not list((tmp_path / "results").glob("runs/*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head": "qaconv"}, "its keys are those of transmatcher, not of qaconv: say --head transmatcher"),
        ({"head": "transmacher"}, "did you mean 'transmatcher'"),
        ({"test": "mrket"}, "mrket"),
        ({"test": "randperson"}, "for training only"),
        ({"test": " , "}, "--test needs a test set"),
        ({"words": ("--height", "32", "--width", "16")}, "pictures of 32 x 16 pixels"),
        ({"words": ("--set", "training.epochs=2")}, "unknown key in --set 'training.epochs'"),
        ({"words": ("--set", "options.layer=2")}, "did you mean 'layers'"),
        ({"words": ("--set", "options.heads=3")}, "cannot be built"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(evaluated, theirs, tmp_path, change, words):
    change = {"words": SIZE, **change}
    found = evaluated(theirs, *change.pop("words"), **change)
    assert found.code == 2 and words in found.err and "Traceback" not in found.err, found.err
    assert not list((tmp_path / "results").glob("runs/*"))


def test_an_absent_test_set_names_where_it_was_looked_for(bench, theirs, tmp_path):
    found = bench(
        "eval", "--checkpoint", theirs, "--head", "transmatcher", "--test", "market", "--data-dir", tmp_path / "none",
        "--results", tmp_path / "results",
    )  # fmt: skip
    assert found.code == 2 and str(tmp_path / "none") in found.err
