"""The machines that are to run cells, and whether what a run is to compute in can be had there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.cards import Card, unsuited
from bench.config import Precision
from bench.environment import cpus
from bench.errors import UserError
from bench.journal.reading import Unreadable
from bench.journal.record import read_record
from bench.progress import Progress
from bench.running.devices import card_of
from bench.running.task import CellTask
from bench.study.plan import Cell
from bench.training.memory import predicted_training_bytes

FROM_LEAST: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
"""Precisions, each of which any GPU has that has a later one."""


@dataclass(frozen=True)
class Target:
    """The machine that will run a cell: its device, what `auto` precision means on a GPU there, and the cell's CPUs."""

    device: str
    precision: Precision
    cpus: int
    cards: tuple[Card, ...] = ()
    """The GPUs that may run it, where they are known."""
    here: bool = False
    """Whether it is the present one."""
    assumption: str = ""
    """What `precision` rests on, where the GPU is not known: a sentence."""


def local_target(*devices: str) -> Target:
    """This machine with the devices over which its runs are spread.

    On GPUs of several kinds `auto` is what all of them have. Raises UserError for a GPU that cannot be used.
    """
    cards = tuple(card_of(device) for device in devices if torch.device(device).type == "cuda")
    precision = min((card.precision for card in cards), key=FROM_LEAST.index, default="fp32")
    return Target(devices[0], precision, cpus(), cards, here=True)


def tell_assumptions(cells: Sequence[Cell], targets: Sequence[Target], progress: Progress) -> None:
    """Say, once each, what `auto` rests on where it has been asked for and the GPU is not known yet."""
    told = [
        target.assumption
        for cell, target in zip(cells, targets, strict=True)
        if target.assumption and cell.config.training.precision == "auto"
    ]
    for line in dict.fromkeys(told):
        progress.say(line)


def check_cards(tasks: Sequence[CellTask], targets: Sequence[Target]) -> None:
    """Raise UserError for a run that is still to be made and needs an arithmetic that a GPU here lacks."""
    for task, target in zip(tasks, targets, strict=True):
        reasons = [reason for card in target.cards if (reason := unsuited(task.config, card))]
        if reasons and not _is_finished(task):
            raise UserError(f"{task.label}: {reasons[0]}")


def tell_of_full_cards(tasks: Sequence[CellTask], targets: Sequence[Target], progress: Progress) -> None:
    """Say of each kind of run that is to be trained if a step is predicted to take more than a GPU here has free.

    A prediction may be wrong, and what fills the GPU may be gone by then: a run that does not fit fails by itself.
    """
    told = []
    for task, target in zip(tasks, targets, strict=True):
        # A head from outside is not run in the command's process.
        if not target.cards or task.config.head_digest or task.lists or _is_finished(task):
            continue
        needed, free = predicted_training_bytes(task.config, task.head, "cuda"), min(target.cards, key=_free)
        if needed > free.free_bytes:
            told.append(
                f"{task.label}: a training step is predicted to take {needed / 2**30:.1f} GiB, and {free} has "
                f"{free.free_bytes / 2**30:.1f} of {free.total_bytes / 2**30:.1f} GiB free (`nvidia-smi` tells whose)"
            )
    for line in dict.fromkeys(told):
        progress.say(line)


def _free(card: Card) -> int:
    return card.free_bytes


def _is_finished(task: CellTask) -> bool:
    try:
        return task.is_finished(read_record(task.folder))
    except Unreadable:
        return False  # that run alone fails
