"""What the pictures of layout "curves" show: accuracy and training time along each size that a study sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.board import Board, Row
from bench.report.columns import MACC, TIME
from bench.report.entries import OPTION_TITLES
from bench.report.notes import device


@dataclass(frozen=True)
class Curve:
    """The rows that a study's sweep over one key makes of one of its rows, in the order of the key's values."""

    name: str
    """The study's row."""
    default: float
    """The key's value in that row."""
    points: tuple[tuple[float, Row], ...]


@dataclass(frozen=True)
class Panel:
    """The curves along one key."""

    key: str
    symbol: str
    """d, D, N, H, or the option's own name."""
    curves: tuple[Curve, ...]

    @property
    def values(self) -> list[float]:
        """All values of the key, ascending."""
        return sorted({value for curve in self.curves for value, _ in curve.points})


@dataclass(frozen=True)
class CurvePoint:
    """One line of a file of curves: percent and seconds, unrounded; empty where unknown."""

    study: str
    preset: str
    standin: str
    train: str
    key: str
    symbol: str
    value: float
    curve: str
    method: str
    default: bool
    seeds: int
    mAcc: float | None
    mAcc_spread: float | None
    mAcc_published: float | None
    training_seconds: float | None
    training_seconds_spread: float | None
    training_seconds_published: float | None
    device: str


def panels(board: Board) -> list[Panel]:
    """One panel for each key that the board's study sweeps, with a curve for each of its rows."""
    found = []
    for key, values in board.study.sweep.items():
        if any(isinstance(value, bool | str) or value is None for value in values):
            continue  # no line goes through what is no number
        name = key.rpartition(".")[2]
        curves = [curve for row in board.study.rows if (curve := _curve(board, row.label, key)) is not None]
        found.append(Panel(name, OPTION_TITLES.get(name, name), tuple(curves)))
    return found


def _curve(board: Board, label: str, key: str) -> Curve | None:
    """The curve along a swept key of a study's row, None if the board has not that row."""
    name = key.rpartition(".")[2]
    start = next((row for row in board.rows if row.label == label and row.kind == "study"), None)
    if start is None:
        return None
    swept = [row for row in board.rows if row.kind == "study" and row.label.startswith(f"{label} {name}=")]
    points = sorted(((_value(row, key), row) for row in (start, *swept)), key=lambda point: point[0])
    return Curve(label, _value(start, key), tuple(points))


def _value(row: Row, key: str) -> float:
    value: Any = row.config
    for part in key.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return float(value)


def curve_points(board: Board) -> list[CurvePoint]:
    """The points of all curves as lines of a file."""
    return [
        _point(board, panel, curve, value, row)
        for panel in panels(board)
        for curve in panel.curves
        for value, row in curve.points
    ]


def _point(board: Board, panel: Panel, curve: Curve, value: float, row: Row) -> CurvePoint:
    accuracy, seconds = row.summary(MACC), row.summary(TIME)
    return CurvePoint(
        study=board.name,
        preset=board.setting.preset or "",
        standin=board.setting.standin_text or "",
        train=row.train,
        key=panel.key,
        symbol=panel.symbol,
        value=value,
        curve=curve.name,
        method=row.label,
        default=value == curve.default,
        seeds=accuracy.count if accuracy else 0,
        mAcc=accuracy.mean if accuracy else None,
        mAcc_spread=accuracy.spread if accuracy else None,
        mAcc_published=row.published.value(MACC.key) if row.published else None,
        training_seconds=seconds.mean if seconds else None,
        training_seconds_spread=seconds.spread if seconds else None,
        training_seconds_published=row.published.value(TIME.key) if row.published else None,
        device="; ".join(dict.fromkeys(device(record) for record in row.records)),
    )
