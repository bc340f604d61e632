"""The published numbers that stand beside those of a study."""

from __future__ import annotations

from bench.study.definition import Study
from bench.study.published import AVERAGE, HOUR, PublishedRow, PublishedTable, load_published

__all__ = ["AVERAGE", "HOUR", "PublishedRow", "PublishedTable", "load_published", "published_of"]


def published_of(study: Study) -> PublishedTable:
    """The table that a study names or holds; one without rows where it has none."""
    if isinstance(study.published, str):
        return load_published()[study.published]
    own = study.published or PublishedTable(rows=[])
    return own.model_copy(update={"by": "literature"})
