"""What a GPU is asked for in tests is held against its budget, and its faster ways of scoring are told, beforehand."""

from __future__ import annotations

import pytest

from bench.cards import Card
from bench.errors import UserError
from bench.progress import Progress
from bench.running.preflight import RunOptions, preflight
from bench.running.targets import Target, local_target
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan

CARD = Card("NVIDIA A100", (8, 0), "", 70 * 2**30, 80 * 2**30, "550.54.15")


@pytest.fixture
def prepare(tiny_data, tmp_path):
    """What is found out before a run of cosine on a GPU that this machine need not have, or on another device."""

    def make(target: Target | None = None, **evaluation: object) -> None:
        target = target or Target("cuda:0", "bf16", 1, (CARD,), here=True)
        cells = plan(load_study("table2"), load_preset("tiny"), {"evaluation": evaluation}, ["cosine"], ["msmt"])
        data = tiny_data / "standin-tiny"
        told = Progress(silent=False)
        preflight(cells, RunOptions(tmp_path / "results", data, lambda _: target, decode=False, progress=told))

    return make


def test_too_small_a_budget_of_a_gpu_is_refused_with_the_least_that_works(prepare):
    with pytest.raises(UserError, match=r"cosine, training: .* of the GPU's memory .* evaluation\.gpu_memory_gib"):
        prepare(gpu_memory_gib=1e-9)
    prepare(gpu_memory_gib=0.1)


def test_a_budget_of_a_gpu_is_nothing_to_a_cpu(prepare):
    prepare(local_target("cpu"), gpu_memory_gib=1e-9)


def test_without_a_budget_the_card_is_asked_when_the_run_goes_on(prepare):
    prepare()


def test_the_budget_of_the_machine_holds_beside_a_gpu(prepare):
    with pytest.raises(UserError, match="cosine, training: "):
        prepare(memory_gib=1e-9)


@pytest.mark.parametrize(
    ("target", "scoring", "told"),
    [(None, "float32", 1), (None, "bfloat16", 0), (None, "tf32x3", 0), (local_target("cpu"), "float32", 0)],
)
def test_what_scores_faster_on_a_gpu_is_told_once_where_nothing_was_asked_for(prepare, capfd, target, scoring, told):
    prepare(target, scoring=scoring)
    lines = [line for line in capfd.readouterr().err.splitlines() if "evaluation.scoring=bfloat16" in line]
    assert len(lines) == told and all("tf32x3" in line for line in lines)
