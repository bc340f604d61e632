"""What a card computes in by itself decides what `auto` means, and which runs it may make."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.cards import Card, driver_version, unsuited
from bench.errors import UserError
from bench.journal import provenance
from bench.journal.record import read_record
from bench.progress import Progress
from bench.running import cell, targets
from bench.running.cell import FAILED, run_cell
from bench.running.targets import Target, check_cards, local_target, tell_of_full_cards
from bench.running.task import CellTask
from bench.study.plan import cell_id, resolve

A100 = Card("NVIDIA A100", (8, 0), "", 70 * 2**30, 80 * 2**30, "550.54.15")
V100 = replace(A100, name="Tesla V100", capability=(7, 0))


def nvidia(*capability: int) -> Card:
    return replace(A100, capability=capability)


def amd(architecture: str) -> Card:
    return replace(A100, capability=None, architecture=architecture)


@pytest.mark.parametrize(
    ("card", "precision", "tf32"),
    [
        (nvidia(6, 1), "fp32", False),
        (nvidia(7, 0), "fp16", False),
        (nvidia(7, 5), "fp16", False),
        (nvidia(8, 0), "bf16", True),
        (nvidia(9, 0), "bf16", True),
        (nvidia(12, 0), "bf16", True),
        (amd("gfx906"), "fp32", False),
        (amd("gfx90a"), "bf16", False),
        (amd("gfx942"), "bf16", False),
    ],
)
def test_auto_is_what_the_card_has_without_emulation(card, precision, tf32):
    assert card.precision == precision and card.has_tf32 == tf32


def test_a_run_is_refused_an_arithmetic_that_its_card_lacks(tiny_config):
    bf16 = tiny_config(training={"precision": "bf16"})
    assert not unsuited(bf16, A100)
    told = unsuited(bf16, V100)
    assert "Tesla V100 (compute capability 7.0) has no bfloat16" in told and "training.precision=fp16" in told
    assert not unsuited(tiny_config(training={"precision": "fp16"}), V100)
    assert "evaluation.scoring=float32" in unsuited(tiny_config(evaluation={"scoring": "bfloat16"}), V100)
    rounded = tiny_config().model_copy(update={"tf32": True})
    assert not unsuited(rounded, A100) and "tf32=false" in unsuited(rounded, V100)


def test_over_cards_of_several_kinds_auto_is_what_all_of_them_have(monkeypatch):
    cards = {"cuda:0": A100, "cuda:1": V100, "cuda:2": nvidia(6, 0)}
    monkeypatch.setattr(targets, "card_of", cards.__getitem__)
    assert local_target("cuda:0").precision == "bf16"
    assert local_target("cuda:0", "cuda:1").precision == "fp16"
    assert local_target("cuda:0", "cuda:1", "cuda:2").precision == "fp32"
    assert local_target("cpu") == Target("cpu", "fp32", local_target("cpu").cpus, here=True)


@pytest.fixture
def task(tmp_path, tiny_config) -> CellTask:
    """A run in bf16 on a GPU."""
    config = tiny_config("cosine", training={"precision": "bf16"})
    return CellTask(
        cell="cosine-msmt-s0-000000000000",
        label="cosine",
        config=config,
        numerics={"head": 1},
        fingerprint="f" * 64,
        standin=None,
        release="",
        results=tmp_path,
        data_dir=tmp_path / "nothing",
        head="cosine",
        tests=("market",),
        threads=1,
        device="cuda:0",
    )


@pytest.fixture
def card_at_hand(monkeypatch):
    """A GPU that answers, whatever this machine has."""

    def have(card: Card) -> None:
        monkeypatch.setattr(cell, "compute_as_runs_do", lambda *_: None)
        monkeypatch.setattr(cell, "free_bytes", lambda _: card.free_bytes)
        for module in (cell, provenance):
            monkeypatch.setattr(module, "read_card", lambda _: card)
        monkeypatch.setattr(provenance, "kernel_name", lambda _: "plain")

    return have


def test_a_job_that_comes_to_a_card_without_the_runs_arithmetic_fails_at_once(task, card_at_hand):
    card_at_hand(V100)
    assert run_cell(task) == FAILED
    record = read_record(task.folder)
    assert record.failure.phase == "start" and record.failure.reason == unsuited(task.config, V100)
    assert record.provenance.capability == "7.0" and record.provenance.kernel == "plain"
    assert record.provenance.tf32 is (torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32)


def test_a_card_with_the_runs_arithmetic_lets_it_go_on(task, card_at_hand):
    card_at_hand(A100)
    assert run_cell(task) == FAILED
    assert read_record(task.folder).failure.phase == "data"


def test_the_same_is_said_before_the_first_run_unless_it_is_finished(task, monkeypatch):
    target = Target("cuda:0", "fp16", 1, (V100,), here=True)
    with pytest.raises(UserError, match="cosine: the run is one in bf16"):
        check_cards([task], [target])
    check_cards([task], [replace(target, cards=(A100,))])
    monkeypatch.setattr(CellTask, "is_finished", lambda *_: True)
    check_cards([task], [target])


def test_a_card_that_others_have_filled_is_told_before_the_first_run(task, capfd):
    narrow = replace(A100, free_bytes=2**20)
    told = Progress(silent=False)
    tell_of_full_cards([task, task], [Target("cuda:0", "bf16", 1, (A100, narrow))] * 2, told)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "cosine: a training step is predicted to take" in lines[0]
    assert "NVIDIA A100 (compute capability 8.0) has 0.0 of 80.0 GiB free" in lines[0]
    tell_of_full_cards([task], [Target("cuda:0", "bf16", 1, (A100,))], told)
    assert not capfd.readouterr().err


def test_tf32_is_in_the_id_of_runs_on_a_gpu_that_use_it(tiny_config):
    plain = tiny_config()
    asked = plain.model_copy(update={"tf32": True})

    def name(config, kind):
        return cell_id(resolve(config, kind, "bf16", 2), {}, "f" * 64)

    assert name(plain, "cuda") != name(asked, "cuda")
    assert name(plain, "cpu") == name(asked, "cpu") and not resolve(asked, "mps").tf32


def test_the_driver_says_its_version(tmp_path):
    assert driver_version(tmp_path) == ""
    place = tmp_path / "sys/module/amdgpu/version"
    place.parent.mkdir(parents=True)
    place.write_text("6.8.5\n")
    assert driver_version(tmp_path) == "6.8.5"
    place = tmp_path / "proc/driver/nvidia/version"
    place.parent.mkdir(parents=True)
    place.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n")
    assert driver_version(tmp_path) == "550.54.15"
