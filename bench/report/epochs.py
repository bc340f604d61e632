"""How the rows of a board learned: hit rate and loss of each epoch, as lines of a file and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.journal.epochs import Epoch
from bench.report.board import Board, Row

Epochs = Mapping[str, Sequence[Epoch]]
"""What each run noted of its epochs, by its cell."""


@dataclass(frozen=True)
class EpochPoint:
    """One line of a file: an epoch of a run. `hit` in percent; both are means over the epoch's steps."""

    study: str
    preset: str
    standin: str
    method: str
    train: str
    seed: int
    epoch: int
    steps: int
    """Batches from the start of training to the end of the epoch."""
    hit: float
    loss: float


@dataclass(frozen=True)
class Moment:
    """An epoch of a row: mean, least and largest of its seeds."""

    steps: int
    hit: tuple[float, float, float]
    loss: tuple[float, float, float]


def epoch_points(board: Board, epochs: Epochs) -> list[EpochPoint]:
    """Every epoch of every run of a board that has a log."""
    return [
        EpochPoint(
            study=board.name,
            preset=board.setting.preset or "",
            standin=board.setting.standin_text or "",
            method=row.label,
            train=row.train,
            seed=record.config.seed,
            epoch=line.epoch,
            steps=line.epoch * record.steps // record.config.training.epochs,
            hit=100 * line.hit,
            loss=line.loss,
        )
        for row in board.rows
        for record in row.records
        for line in epochs.get(record.cell, ())
    ]


def moments(row: Row, points: Iterable[EpochPoint]) -> list[Moment]:
    """A row's epochs in order, as far as all of its seeds went."""
    own = [point for point in points if (point.method, point.train) == (row.label, row.train)]
    seeds = {point.seed for point in own}
    by_epoch: dict[int, list[EpochPoint]] = {}
    for point in own:
        by_epoch.setdefault(point.epoch, []).append(point)
    return [
        Moment(found[0].steps, _ends([point.hit for point in found]), _ends([point.loss for point in found]))
        for _, found in sorted(by_epoch.items())
        if len(found) == len(seeds)
    ]


def _ends(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.fmean(values), min(values), max(values)
