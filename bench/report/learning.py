"""How rows learned, step by step: what runs kept that looked at their held-out persons while they trained."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cached_property

from bench.config import HELD_OUT
from bench.journal.measures import CLIP_GROUPS, Look
from bench.journal.record import Record
from bench.report.board import Board, Row


@dataclass(frozen=True)
class LearningPoint:
    """One line of a file of learning curves: accuracies and shares in percent, unrounded; empty where unknown.

    Losses, hit rates and gradient norms are means over the steps since the line before.
    """

    study: str
    preset: str
    standin: str
    train: str
    method: str
    seed: int
    step: int
    held_out_rank1: float
    held_out_mAP: float
    loss: float | None
    hit: float | None
    learning_rate: float
    """Of the layers that start from nothing."""
    gradient_norm_images: float | None
    gradient_norm_pairs: float | None
    clipped_images: float | None
    clipped_pairs: float | None


@dataclass(frozen=True)
class Learning:
    """The looks of a row's runs, by seed."""

    row: Row
    records: tuple[Record, ...]

    @cached_property
    def steps(self) -> list[int]:
        """The steps at which all seeds were looked at."""
        common = set.intersection(*({look.step for look in record.looks} for record in self.records))
        return sorted(common)

    def at(self, step: int) -> list[Look]:
        """Each seed's look after so many steps."""
        return [look for record in self.records for look in record.looks if look.step == step]


def learning(board: Board) -> list[Learning]:
    """The board's rows of which at least one run was looked at while it trained."""
    found = [(row, tuple(record for record in row.records if record.looks)) for row in board.rows]
    return [Learning(row, records) for row, records in found if records]


def chance_of(board: Board) -> float | None:
    """The mAP of random scores on the persons held out, if a run was tested on them."""
    results = [result for row in board.rows for result in row.results(HELD_OUT)]
    return statistics.fmean(result.chance.mAP for result in results) if results else None


def learning_points(board: Board) -> list[LearningPoint]:
    """All looks of a board as lines of a file."""
    return [
        _point(board, item.row, record, look)
        for item in learning(board)
        for record in item.records
        for look in record.looks
    ]


def _point(board: Board, row: Row, record: Record, look: Look) -> LearningPoint:
    norms = [look.gradient_norms.get(group) for group in CLIP_GROUPS]
    clipped = [None if share is None else 100 * share for share in map(look.clipped.get, CLIP_GROUPS)]
    return LearningPoint(
        study=board.name,
        preset=board.setting.preset or "",
        standin=board.setting.standin_text or "",
        train=row.train,
        method=row.label,
        seed=record.config.seed,
        step=look.step,
        held_out_rank1=100 * look.held_out.rank1,
        held_out_mAP=100 * look.held_out.mAP,
        loss=look.loss,
        hit=None if look.hit is None else 100 * look.hit,
        learning_rate=look.learning_rates[-1],
        gradient_norm_images=norms[0],
        gradient_norm_pairs=norms[1],
        clipped_images=clipped[0],
        clipped_pairs=clipped[1],
    )
