"""What a training step takes is predicted without taking it; a run that runs out of memory says so with that."""

from __future__ import annotations

import pytest
import torch

from bench.errors import CellFailed
from bench.journal.pulse import Pulse
from bench.network.matcher import Matcher
from bench.running.cell import _Run
from bench.running.task import CellTask
from bench.training.memory import predicted_training_bytes, too_large
from bench.training.trainer import Trainer

GIB = 2**30


def test_a_prediction_holds_weights_gradients_and_momentum(tiny_config):
    config = tiny_config("cosine", training={"persons": 2, "images": 2})
    weights = sum(4 * parameter.numel() for parameter in Matcher(config, "cosine", None).parameters())
    assert 3 * weights < predicted_training_bytes(config, "cosine", "cpu") < 3 * weights + GIB // 8


@pytest.mark.slow
def test_a_prediction_is_near_what_autograd_keeps(tiny_config):
    """The bytes of tensors saved for the backward pass are most of a step with many images."""
    config = tiny_config("TransMatcher", training={"persons": 16, "images": 4})
    model = Matcher(config, "transmatcher", None).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = model.encode(torch.zeros(64, 3, config.input.height, config.input.width))
        scores = model.head.match(found, found)
    predicted = predicted_training_bytes(config, "transmatcher", "cpu")
    assert scores.requires_grad and 0.8 < predicted / sum(kept.values()) < 2


@pytest.mark.slow
def test_a_prediction_grows_with_the_batch_and_falls_with_the_precision(tiny_config):
    sizes = [
        predicted_training_bytes(tiny_config("ViT", training={"persons": persons, "precision": kind}), "vit", "cuda")
        for persons, kind in ((8, "fp32"), (16, "fp32"), (16, "bf16"))
    ]
    assert sizes[0] < sizes[1] > sizes[2]


def test_neither_seed_nor_training_set_is_counted_anew(tiny_config):
    config = tiny_config("cosine")
    alike = config.model_copy(update={"seed": 5, "train": "market"})
    assert predicted_training_bytes(config, "cosine", "cpu") == predicted_training_bytes(alike, "cosine", "cpu")


@pytest.fixture
def run(tmp_path, tiny_config, few_persons) -> tuple[_Run, Trainer]:
    """A run about to train."""
    config = tiny_config("cosine")
    task = CellTask(
        "cosine-msmt-s0-0", "cosine", config, {"head": 1}, "f" * 64, None, "", tmp_path, tmp_path, "cosine", (), 1
    )
    run = _Run(task, None, Pulse())
    run.free = GIB
    return run, Trainer(Matcher(config, "cosine", None), config, *few_persons, tmp_path)


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_training_that_runs_out_of_memory_says_what_to_lower(fault, run, monkeypatch):
    def run_out(*_: object) -> None:
        raise fault

    monkeypatch.setattr(Trainer, "run", run_out)
    with pytest.raises(CellFailed) as caught:
        run[0]._trained(run[1])
    told = str(caught.value)
    assert "out of memory in training: a step is predicted to take" in told and "1.0 GiB were free" in told
    assert "training.persons (" in told and "input.height" in told and "\n" not in told
    assert caught.value.__cause__ is fault


def test_any_other_fault_of_training_stays_what_it_is(run, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("shape '[3]' is invalid")

    monkeypatch.setattr(Trainer, "run", fail)
    with pytest.raises(RuntimeError, match="is invalid"):
        run[0]._trained(run[1])


def test_half_precision_is_proposed_where_it_helps(tiny_config):
    full = tiny_config("cosine")
    assert "precision=bf16" in too_large(full, "cosine", "cuda", GIB)
    assert "precision" not in too_large(full, "cosine", "cpu", GIB)


def test_a_head_that_cannot_be_predicted_hides_nothing(tiny_config, monkeypatch):
    def fail(*_: object) -> int:
        raise NotImplementedError("no meta kernel")

    monkeypatch.setattr("bench.training.memory.predicted_training_bytes", fail)
    told = too_large(tiny_config("cosine"), "cosine", "cuda", GIB)
    assert "cannot be predicted (NotImplementedError), and 1.0 GiB were free on the GPU" in told
