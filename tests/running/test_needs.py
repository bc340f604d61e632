"""What a job asks of a machine's memory is predicted where nobody said it; its time never is by another machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.running.needs import GIB, MARGIN, machine_bytes, memory_to_ask_for
from slurm.table import UNPREDICTED, ResourceTable


@pytest.fixture
def task(tiny_config, tmp_path):
    """A task of a row, as far as its memory goes, with changes as `--set` makes them."""

    def make(row="TransMatcher", head="transmatcher", digest="", **changes):
        config = tiny_config(row, **changes).model_copy(update={"head_digest": digest})
        return SimpleNamespace(label=row, config=config, head=head, numerics={}, tests=(), results=tmp_path)

    return make


def test_memory_follows_the_budget_of_tests_and_the_batch(task):
    small = machine_bytes(task(), on_gpu=False)
    assert machine_bytes(task(evaluation={"memory_gib": 5}), on_gpu=False) - small == 3 * GIB
    large = task(
        training={"persons": 64},
        backbone={"cut": "layer4", "weights": None, "batchnorm": "train"},
        input={"height": 384, "width": 128},
    )
    assert machine_bytes(large, on_gpu=False) > 1.3 * small
    assert machine_bytes(task(evaluation={"memory_gib": 5}), on_gpu=True) > machine_bytes(task(), on_gpu=True)


def test_what_is_asked_for_has_a_margin_and_is_a_round_amount(task):
    for on_gpu in (False, True):
        asked = int(memory_to_ask_for(task(), on_gpu).removesuffix("G"))
        needed = machine_bytes(task(), on_gpu) / GIB
        assert MARGIN * needed <= asked <= 2 * MARGIN * needed


def test_code_from_outside_is_not_run_to_predict_it(task):
    outside = task(head="somewhere/mine.py", digest="a" * 64)
    assert memory_to_ask_for(outside, on_gpu=False) is None
    assert ResourceTable(None, ["gpus=0"]).for_task(outside).memory == UNPREDICTED


def test_what_people_wrote_wins_over_what_is_predicted(task, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("heads: {transmatcher: {memory: 7G}}\n")
    assert ResourceTable(file, []).for_task(task()).memory == "7G"
    assert ResourceTable(file, ["memory=9G"]).for_task(task()).memory == "9G"
    assert ResourceTable(None, ["memory=null"]).for_task(task()).memory is None
    assert ResourceTable(None, []).for_task(task()).memory == memory_to_ask_for(task(), on_gpu=True)


def test_time_is_predicted_for_nobody_and_the_script_says_so(played_slurm, submit):
    played_slurm()
    found = submit("--dry-run", "--resource", "memory=auto")
    assert found.code == 0, found.err
    assert "#SBATCH --mem=6G" in found.out and "#SBATCH --time=1440" in found.out
    assert "time 24:00:00, not predicted here; `bench plan` in a job on such a node predicts it" in found.out
    found = submit("--dry-run", "--resource", "time=2:00:00", "--resource", "memory=3G")
    assert "#SBATCH --mem=3G" in found.out and "not predicted" not in found.out
