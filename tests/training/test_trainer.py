"""The trainer learns, obeys its rules, and goes on to the bit after an interruption."""

from __future__ import annotations

import json

import pytest
import torch
from cut_at import trainer_of
from networks import fresh
from torch import nn

from bench.errors import CellFailed
from bench.journal.checkpoint import load_checkpoint, save_checkpoint
from bench.journal.record import CHECKPOINT, LOG
from bench.network.matcher import Matcher
from bench.training.calibration import calibrate
from bench.training.trainer import Trainer

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("row", ["TransMatcher", "ViT"])
def test_a_few_persons_are_learnt_by_heart(row, tiny_config, few_persons, tmp_path):
    config = tiny_config(row, training={"epochs": 8, "augmentation": {"enabled": False}})
    trainer_of(config, few_persons, tmp_path).run()
    log = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert len(log) == 8
    assert log[-1]["hit"] > max(0.9, log[0]["hit"])
    assert log[-1]["loss"] < log[0]["loss"] / 2


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tiny_config, few_persons, tmp_path):
    hashes = [
        trainer_of(tiny_config(seed=seed), few_persons, tmp_path / name).run().model.weights_hash()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_interrupted_training_ends_with_the_same_bits(tiny_config, few_persons, tmp_path, monkeypatch):
    config = tiny_config(training={"epochs": 2})
    whole = trainer_of(config, few_persons, tmp_path / "whole").run()
    cut = trainer_of(config, few_persons, tmp_path / "cut")
    step = Trainer.step

    def die_in_the_second_epoch(self, batch, name):
        if "epoch 2" in name:
            raise KeyboardInterrupt
        return step(self, batch, name)

    monkeypatch.setattr(Trainer, "step", die_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    monkeypatch.undo()
    resumed = trainer_of(config, few_persons, tmp_path / "cut").run()
    assert resumed.model.weights_hash() == whole.model.weights_hash()
    assert resumed.segments == 2 and whole.segments == 1
    assert resumed.steps == whole.steps == 2 * 6
    assert len((tmp_path / "cut" / LOG).read_text().splitlines()) == 2


def test_gradients_are_clipped_in_two_groups(tiny_config, few_persons, tmp_path):
    config = tiny_config(training={"clip": 0.01})
    trainer = trainer_of(config, few_persons, tmp_path)
    norms = []

    def watch(*_):
        for group in trainer.model.clip_groups():
            norms.append(torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in group if p.grad is not None])))

    trainer.optimizer.sgd.register_step_pre_hook(watch)
    trainer.run()
    assert len(norms) == 2 * 6
    assert max(norms) <= 0.01 + 1e-6 and max(norms) > 0.009


def test_the_two_groups_are_what_sees_one_image_and_what_sees_pairs(tiny_config):
    model = fresh(tiny_config())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    images, pairs = [{names[id(parameter)] for parameter in group} for group in model.clip_groups()]
    assert "backbone.neck.weight" in images and "head.encoder.0.linear1.weight" in images
    assert "head.decoder.0.fc1.weight" in pairs and "head.norm.weight" in pairs
    assert images | pairs == set(names.values()) and not images & pairs


def test_only_imagenet_layers_get_the_smaller_learning_rate(tiny_config, few_persons, tmp_path):
    scratch = trainer_of(tiny_config(), few_persons, tmp_path / "a")
    assert len(scratch.optimizer.sgd.param_groups) == 1
    config = tiny_config(training={"schedule": "step"}).model_copy(
        update={"backbone": tiny_config().backbone.model_copy(update={"weights": "imagenet"})}
    )
    groups = trainer_of(config, few_persons, tmp_path / "b").optimizer.sgd.param_groups
    assert [group["lr"] for group in groups] == [config.training.backbone_lr, config.training.lr]
    model = Matcher(config, config.head, None)
    assert len(groups[0]["params"]) == len(list(model.backbone.stages.parameters()))
    assert groups[0]["nesterov"] and groups[0]["momentum"] == 0.9 and groups[0]["weight_decay"] == 5e-4


def test_learning_rates_fall_after_the_given_epochs(tiny_config, few_persons, tmp_path):
    config = tiny_config(training={"schedule": "step", "epochs": 3, "decay_after": 2, "lr": 0.01})
    trainer_of(config, few_persons, tmp_path).run()
    rates = [json.loads(line)["learning_rate"][0] for line in (tmp_path / LOG).read_text().splitlines()]
    assert rates == pytest.approx([0.01, 0.01, 0.001])


def test_randperson_has_its_own_schedule():
    from bench.study.definition import load_preset, load_study
    from bench.study.plan import plan

    cells = plan(load_study("table1"), load_preset(None), {}, ["TransMatcher"], ["msmt", "randperson"], [0])
    assert [(c.config.training.epochs, c.config.training.decay_after) for c in cells] == [(15, 10), (4, 2)]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(precision, tiny_config, few_persons, tmp_path):
    config = tiny_config(training={"precision": precision})
    done = trainer_of(config, few_persons, tmp_path).run()
    assert all(value.isfinite().all() for value in done.model.state_dict().values())


def test_a_diverging_training_fails_with_its_reason(tiny_config, few_persons, tmp_path):
    config = tiny_config()
    trainer = trainer_of(config, few_persons, tmp_path)
    with torch.no_grad():
        trainer.model.head.norm.weight.fill_(torch.nan)
    with pytest.raises(CellFailed, match=r"diverged in step 1 \(epoch 1\)"):
        trainer.run()


def test_calibration_sets_statistics_and_leaves_weights(tiny_config, few_persons):
    config = tiny_config()
    model = fresh(config)
    weights = {name: value.clone() for name, value in model.named_parameters()}
    statistics = {name: value.clone() for name, value in model.named_buffers() if "running" in name}
    calibrate(model, config, *few_persons)
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    moved = [name for name, value in model.named_buffers() if "running" in name and not value.equal(statistics[name])]
    assert len(moved) == len(statistics)
    assert all(m.momentum == 0.1 for m in model.modules() if isinstance(m, nn.BatchNorm2d)) and not model.training


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"value": torch.ones(1)})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CellFailed, match="No space left"):
        save_checkpoint(path, {"value": torch.zeros(1)})
    monkeypatch.undo()
    assert load_checkpoint(path, "cpu")["value"].item() == 1
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    path = tmp_path / CHECKPOINT
    path.write_bytes(b"broken")
    with pytest.raises(CellFailed, match="delete it to start this run anew"):
        load_checkpoint(path, "cpu")


def test_the_start_is_the_seeds_and_the_backbone_is_the_same_for_all_heads(tiny_config):
    one, same, other = (Matcher(tiny_config(seed=seed), "transmatcher", None) for seed in (0, 0, 1))
    assert one.weights_hash() == same.weights_hash() != other.weights_hash()
    vit = Matcher(tiny_config("ViT"), "vit", None)
    assert torch.equal(one.backbone.neck.weight, vit.backbone.neck.weight)
