"""Matrices of mistakes by camera pair."""

from __future__ import annotations

from typing import Any

from bench.report.page.explorer import TestShown


def camera_matrices(number: int, test: TestShown) -> list[dict[str, Any]]:
    return []
