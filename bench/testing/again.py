"""A test that is repeated: whether it gives the numbers of the record, and what the record keeps of both."""

from __future__ import annotations

import math
from typing import Any

from bench.errors import CellFailed
from bench.journal.record import TestResult

_MEASURED_ONCE = ("seconds", "peak_bytes", "pairs", "block_parts", "pixels", "standin", "lists", "lists_refused")
"""What belongs to the first test alone: times and memory stand beside those of its machine."""
_SAME = 1e-9


class OtherNumbers(CellFailed):
    """A test that was repeated gave other numbers than the record has."""


def kept(earlier: TestResult, now: TestResult) -> TestResult:
    """The earlier result, and from the present one its lists and what earlier versions did not record.

    Raises OtherNumbers, with what differs, where the two are not the same to the last digit that matters.
    """
    fields = [name for name in TestResult.model_fields if name not in _MEASURED_ONCE]
    was, found = earlier.model_dump(include={*fields}), now.model_dump(include={*fields})
    lacking = {name for name in fields if was[name] in (None, [], "")}
    differing = [name for name in fields if name not in lacking and not _same(was[name], found[name])]
    if differing:
        levels = f"mAP {100 * now.mAP:.4f} % and Rank-1 {100 * now.rank1:.4f} %"
        before = f"{100 * earlier.mAP:.4f} % and {100 * earlier.rank1:.4f} %"
        raise OtherNumbers(
            f"tested again, the network gives other numbers than the record has ({', '.join(differing)}): {levels} "
            f"instead of {before}; the record stays as it was, without ranked lists"
        )
    more = {name: getattr(now, name) for name in lacking}
    return earlier.model_copy(update={**more, "lists_refused": ""})


def _same(was: Any, found: Any) -> bool:
    if isinstance(was, float) and isinstance(found, float | int):
        return math.isclose(was, found, rel_tol=_SAME, abs_tol=_SAME)
    if isinstance(was, list) and isinstance(found, list):
        return len(was) == len(found) and all(map(_same, was, found))
    if isinstance(was, dict) and isinstance(found, dict):
        # A value that earlier versions did not record is None.
        return all(was[name] is None or _same(was[name], found[name]) for name in was)
    return was == found
