"""The memory that a job needs, counted where it is submitted: the machine that will run it may be another.

How long a job takes is not predicted here: the speed of the machine that submits says nothing of a node's.
"""

from __future__ import annotations

from bench.running.amounts import GIB, memory_step
from bench.running.task import CellTask
from bench.training.memory import predicted_training_bytes

CPU_PROCESS_BYTES = 3 * GIB // 4
"""Of Python, PyTorch and what their libraries hold, beside tensors."""

GPU_PROCESS_BYTES = 5 * GIB
"""The same with CUDA's libraries loaded: an assumption on the safe side, since they differ from release to release."""

ENCODED_SHARE = 0.25
"""Of what a training step takes for an image: what an image takes that is encoded in a test, where nothing is kept."""

MARGIN = 1.5
"""Of what is asked for over what is predicted: a job that takes more is ended without a word."""


def machine_bytes(task: CellTask, on_gpu: bool) -> int | None:
    """The predicted peak of a job's process on the machine; None for a head from outside, which is not run here.

    On a GPU representations, blocks and all that training keeps are in its own memory; scores are on the machine.
    """
    budget = int(task.config.evaluation.memory_gib * GIB)
    if on_gpu:
        # Scores, and as much again where those of an unfinished test are saved.
        return GPU_PROCESS_BYTES + 2 * budget
    if task.config.head_digest:
        return None
    step = predicted_training_bytes(task.config, task.head, "cpu")
    image = step / (task.config.training.persons * task.config.training.images)
    encoded = int(ENCODED_SHARE * image * task.config.evaluation.batch)
    return CPU_PROCESS_BYTES + max(step, encoded + budget)


def memory_to_ask_for(task: CellTask, on_gpu: bool) -> str | None:
    """The predicted memory with its margin as sbatch takes it, such as "12G"; None where it cannot be predicted."""
    predicted = machine_bytes(task, on_gpu)
    if predicted is None:
        return None
    return memory_step(MARGIN * predicted)
