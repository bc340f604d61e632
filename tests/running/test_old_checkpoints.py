"""Networks from before checkpoints bore names are tested further where their hash proves whose they are."""

from __future__ import annotations

import shutil

import pytest
import torch

from bench.journal.record import CHECKPOINT, read_records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tiny_data, tmp_path_factory):
    """A results folder with the finished run of cosine, its checkpoint as earlier versions wrote it."""
    from bench.cli import main

    results = tmp_path_factory.mktemp("trained")
    assert main([*COMMAND, "--test", "cuhk03", "--data-dir", str(tiny_data), "--results", str(results)]) == 0
    [path] = results.glob(f"runs/*/{CHECKPOINT}")
    torch.save({"model": torch.load(path, weights_only=True)["model"]}, path)
    return results


COMMAND = ("run", "--variants", "cosine", "--train", "msmt", "--preset", "tiny")


@pytest.fixture
def run_on(trained, bench, tiny_data, tmp_path):
    """`bench run` of a further test set on a copy of the trained results, after a change to the checkpoint."""

    def call(change):
        shutil.copytree(trained / "runs", tmp_path / "runs")
        [path] = tmp_path.glob(f"runs/*/{CHECKPOINT}")
        change(path)
        found = bench(*COMMAND, "--test", "cuhk03,msmt", "--data-dir", tiny_data, "--results", tmp_path)
        [record] = read_records(tmp_path)
        return found, record

    return call


def test_the_network_whose_hash_the_record_has_is_tested_further(run_on, trained):
    found, record = run_on(lambda path: None)
    assert found.code == 0, found.out
    [before] = read_records(trained)
    assert {item.test for item in record.tests} == {"cuhk03", "msmt"} and record.weights_hash == before.weights_hash


def test_any_other_network_is_refused_in_one_sentence(run_on):
    def swap(path):
        torch.save({"model": {"head.weight": torch.ones(2)}}, path)  # of another head: torch would list all its keys

    found, record = run_on(swap)
    assert found.code == 1 and record.failure is not None and record.weights_hash is not None
    assert "does not hold the trained network; delete the folder to train this run anew" in record.failure.reason
    assert "\n" not in record.failure.reason and "key" not in record.failure.reason
