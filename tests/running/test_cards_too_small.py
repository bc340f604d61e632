"""A training step that a card cannot hold fails at once, with what it would take beside what the card has."""

from __future__ import annotations

import pytest

from bench.cards import Card
from bench.errors import CellFailed
from bench.journal.pulse import Pulse
from bench.running.cell import _Run
from bench.running.task import CellTask
from bench.training import memory
from bench.training.memory import never_fits

GIB = 2**30


def card(gib: float) -> Card:
    return Card("NVIDIA A100", (8, 0), "", int(gib * GIB) // 2, int(gib * GIB), "550.54.15")


@pytest.fixture
def predicted(monkeypatch) -> None:
    """A step is predicted to take 30 GiB."""
    monkeypatch.setattr(memory, "predicted_training_bytes", lambda config, head, kind: 30 * GIB)


def test_what_it_takes_is_told_beside_what_the_card_has(tiny_config, predicted):
    told = never_fits(tiny_config("cosine"), "cosine", card(24))
    assert (
        "a training step is predicted to take 30.0 GiB, and NVIDIA A100 (compute capability 8.0) has 24.0 GiB" in told
    )
    assert (
        "lower training.persons (" in told and "input.height" in told and "precision=bf16" in told and "\n" not in told
    )


def test_what_the_card_holds_in_all_may_be_tried(tiny_config, predicted):
    """Though others hold half of it: they may end."""
    assert never_fits(tiny_config("cosine"), "cosine", card(40)) == ""


def test_what_is_compiled_takes_less_than_is_predicted(tiny_config, predicted):
    assert never_fits(tiny_config("cosine", training={"compile": True}), "cosine", card(24)) == ""


def test_a_head_that_cannot_be_predicted_is_tried(tiny_config, monkeypatch):
    def fail(*_: object) -> int:
        raise NotImplementedError("no meta kernel")

    monkeypatch.setattr(memory, "predicted_training_bytes", fail)
    assert never_fits(tiny_config("cosine"), "cosine", card(1)) == ""


def test_a_real_prediction_is_for_this_batch(tiny_config):
    config = tiny_config("cosine", training={"persons": 2, "images": 2})
    assert never_fits(config, "cosine", card(1)) == "" and "has 0.0 GiB" in never_fits(config, "cosine", card(0.001))


@pytest.mark.parametrize("lists", [False, True])
def test_a_run_that_is_to_be_trained_fails_before_it_reads_any_data(lists, tiny_config, predicted, tmp_path):
    config = tiny_config("cosine")
    task = CellTask(
        "cosine-msmt-s0-0", "cosine", config, {"head": 1}, "f" * 64, None, "", tmp_path, tmp_path, "cosine", (), 1,
        lists=lists,
    )  # fmt: skip
    run = _Run(task, None, Pulse())
    if lists:
        run._check_card(card(24))  # it only tests again
    else:
        with pytest.raises(CellFailed, match="predicted to take 30"):
            run._check_card(card(24))
