"""Looks at the learning while a network trains: what they hold, and that they change nothing."""

from __future__ import annotations

import pytest
import torch
from cut_at import CutAt
from networks import fresh

from bench.config import CellConfig
from bench.errors import UserError
from bench.journal.measures import CLIP_GROUPS, Level
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan
from bench.system.signals import Interrupted
from bench.training.looks import Looks
from bench.training.optimizer import StepOutcome
from bench.training.trainer import Trained, Trainer


def outcome(loss: float, hit: float, images: float, pairs: float, taken: bool = True) -> StepOutcome:
    return StepOutcome(loss, hit, taken, dict(zip(CLIP_GROUPS, (images, pairs), strict=True)))


def looks(clip: float | None = 4.0) -> Looks:
    return Looks(2, clip, lambda model: Level(rank1=0.5, mAP=0.25))


def test_a_look_holds_the_means_of_the_steps_since_the_one_before():
    made = looks()
    made.look(0, torch.nn.Identity(), [0.1])
    made.add(None)
    made.add(outcome(2.0, 0.5, 3.0, 8.0))
    made.add(outcome(4.0, 1.0, 5.0, 6.0))
    made.add(outcome(9.0, 0.0, float("inf"), 1.0, taken=False))
    made.look(2, torch.nn.Identity(), [0.2])
    made.look(3, torch.nn.Identity(), [0.3])
    first, second, third = made.taken
    assert (first.loss, first.hit, first.gradient_norms, first.clipped) == (None, None, {}, {})
    assert (second.loss, second.hit) == (3.0, 0.75)
    assert second.gradient_norms == {"per image": 4.0, "pairs": 7.0}
    assert second.clipped == {"per image": 0.5, "pairs": 1.0}
    assert second.held_out == Level(rank1=0.5, mAP=0.25) and second.learning_rates == [0.2]
    assert third.loss is None


def test_without_a_limit_no_gradient_is_clipped():
    made = looks(clip=None)
    made.add(outcome(1.0, 0.0, 100.0, 100.0))
    assert made.look(1, torch.nn.Identity(), []).clipped == {"per image": 0.0, "pairs": 0.0}


def test_looks_are_due_every_so_many_steps_and_after_the_last_never_twice():
    made = looks()
    assert made.is_due(0) and not made.is_due(1) and made.is_due(1, last=True)
    made.look(4, torch.nn.Identity(), [])
    assert not made.is_due(4) and not made.is_due(4, last=True) and made.is_due(6)


def test_looking_asks_for_persons_held_out_and_is_in_the_id_only_where_it_is_asked_for():
    study, preset = load_study("table2"), load_preset("tiny")
    with pytest.raises(UserError, match=r"training\.held_out_persons=40"):
        plan(study, preset, {"training": {"held_out_every": 5}}, ["cosine"])
    [cell] = plan(study, preset, {"training": {"held_out_every": 5, "held_out_persons": 2}}, ["cosine"])
    assert cell.config.training.held_out_every == 5


@pytest.fixture
def train(tiny_config, few_persons, tmp_path):
    """Two epochs of six steps, in a folder; what stands for the accuracy follows from the weights."""

    def run(folder: str, pulse: CutAt | None = None, **training: int) -> Trained:
        config: CellConfig = tiny_config("cosine", training={"epochs": 2, "held_out_persons": 2, **training})
        (tmp_path / folder).mkdir(exist_ok=True)
        trainer = Trainer(fresh(config), config, *few_persons, tmp_path / folder, pulse, examine)
        return trainer.run()

    def examine(model) -> Level:
        model.eval()
        share = float(next(model.parameters()).detach().abs().mean().clamp(max=1))
        return Level(rank1=share, mAP=share)

    return run


@pytest.mark.slow
def test_looking_changes_no_bit_of_the_training(train):
    unseen, seen = train("unseen"), train("seen", held_out_every=5)
    assert seen.model.weights_hash() == unseen.model.weights_hash()
    assert unseen.looks == [] and "looking" not in unseen.seconds
    assert [look.step for look in seen.looks] == [0, 5, 10, 12]
    assert all(set(look.gradient_norms) == set(CLIP_GROUPS) for look in seen.looks[1:])
    assert seen.seconds["looking"] >= 0


@pytest.mark.slow
def test_a_training_that_is_cut_short_ends_with_the_same_looks(train):
    whole = train("whole", held_out_every=5)
    pulse = CutAt(10)
    with pytest.raises(Interrupted):
        train("cut", pulse, held_out_every=5)
    assert pulse.chances == 10
    resumed = train("cut", held_out_every=5)
    assert resumed.segments == 2
    assert resumed.looks == whole.looks and len(whole.looks) == 4
