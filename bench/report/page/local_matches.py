"""The local matches of the pairs that a page shows, computed from the runs' networks."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.computing import compute_as_runs_do
from bench.data.images import decode
from bench.errors import CellFailed, UserError
from bench.network.matcher import Matcher
from bench.progress import one_line
from bench.report.page.explorer import TestedHead, TestShown
from bench.report.page.pairs import HeadMatches
from bench.report.page.shown import kind_of, shown_entries
from bench.running.devices import resolve_device
from bench.running.trained import load_network
from bench.testing.local_matches import block_pairs, threshold_at
from variants._base import LocalMatches

FALSE_ACCEPTANCE = 0.01
"""Share of the matches of wrong pairs that may be drawn."""
MOST_LINES = 20
"""Matches of one pair and level that are drawn: the most similar; more would hide the pictures."""
MEMORY = 2**28
"""Bytes of images and of what is kept of them at a time, unless a single query needs more."""
BATCH = 32


@dataclass(frozen=True)
class _Pair:
    """A shown pair, by its places among the queries and the gallery of the lists."""

    query: int
    gallery: int
    wrong: bool


@dataclass(frozen=True)
class _Level:
    """The matches of one pair on one level: cells [m], similarities [m], and the pair's score."""

    name: str
    query_cell: NDArray[np.int64]
    gallery_cell: NDArray[np.int64]
    similarity: NDArray[np.float32]
    score: float


def matches_of(test: TestShown, queries: Sequence[int], root: Path, results: Path, device: str) -> list[HeadMatches]:
    """Of each head of a test set the matches of all pairs that the page shows of these queries.

    Images lie below `root`. What cannot be had, such as the network of a run whose checkpoint is gone, is told in the
    head's words. Raises UserError for a device that is not there.
    """
    where = resolve_device(device)
    return [
        _of_head(name, head, queries, root, results / "runs" / head.record.cell, where)
        for name, head in zip(test.names, test.heads, strict=True)
    ]


def _of_head(name: str, head: TestedHead, queries: Sequence[int], root: Path, folder: Path, device: str) -> HeadMatches:
    file = Path(f"{head.record.config.head}.py")
    try:
        model, _ = load_network(
            folder, device, str(file) if head.record.config.head_digest and file.is_file() else None
        )
        compute_as_runs_do(model.device, tf32=head.record.config.tf32)
    except (UserError, CellFailed) as fault:
        return HeadMatches(f"{name}: its network cannot be had ({one_line(str(fault))}).")
    if not model.head.offers_local_matches:
        return HeadMatches(f"{name} offers no local matches.")
    found: dict[_Pair, list[_Level]] = {}
    for some in _chunks([_pairs(head, query) for query in queries], model, head):
        found |= _of_pairs(model, head, some, root)
    if not found:
        return HeadMatches(f"{name}: the pictures of its pairs could not be read.")
    names = tuple(level.name for level in next(iter(found.values())))
    places = range(len(names))
    low = [_threshold({pair: levels[at].similarity for pair, levels in found.items()}) for at in places]
    high = [max(levels[at].similarity.max(initial=-np.inf) for levels in found.values()) for at in places]
    _, rows, columns = model.head.feature_shape
    wide = rows * columns > 256
    drawn = {
        (pair.query, pair.gallery): [_packed(levels[at], low[at], high[at], wide) for at in places]
        for pair, levels in found.items()
    }
    told = (
        f"Drawn are the matches of the highest similarity, at most {MOST_LINES}: in colour where at most "
        f"{100 * FALSE_ACCEPTANCE:g} % of the matches of wrong pairs have a higher one, faint elsewhere."
    )
    return HeadMatches(told, (rows, columns), names, drawn)


def _pairs(head: TestedHead, query: int) -> list[_Pair]:
    return [_Pair(query, entry.gallery, kind_of(entry) == "wrong") for entry in shown_entries(head, query)[0]]


def _of_pairs(model: Matcher, head: TestedHead, pairs: Sequence[_Pair], root: Path) -> dict[_Pair, list[_Level]]:
    """The levels of the pairs whose images can be read; each image is encoded once."""
    lists = head.lists
    height, width = head.record.config.input.height, head.record.config.input.width
    images: dict[str, NDArray[np.uint8]] = {}
    for path in {lists.query_path[pair.query] for pair in pairs} | {lists.gallery_path[pair.gallery] for pair in pairs}:
        try:
            images[path] = decode(root / path, height, width)
        except UserError:
            continue
    at = {path: place for place, path in enumerate(images)}
    kept = [pair for pair in pairs if lists.query_path[pair.query] in at and lists.gallery_path[pair.gallery] in at]
    if not kept:
        return {}
    encoded = model.encode_all(np.stack([*images.values()]), np.arange(len(images)), BATCH)
    query = encoded[[at[lists.query_path[pair.query]] for pair in kept]]
    gallery = encoded[[at[lists.gallery_path[pair.gallery]] for pair in kept]]
    found = {}
    size = block_pairs(model)
    for start in range(0, len(kept), size):
        some = slice(start, start + size)
        with torch.inference_mode():
            levels = model.head.local_matches(query[some], gallery[some])
        found |= {pair: [_of_pair(level, place) for level in levels] for place, pair in enumerate(kept[some])}
    return found


def _of_pair(level: LocalMatches, place: int) -> _Level:
    parts = (level.query_cell, level.gallery_cell, level.similarity)
    query_cell, gallery_cell, similarity = (part[place].cpu().numpy() for part in parts)
    return _Level(level.level, query_cell, gallery_cell, similarity.astype(np.float32), float(level.score[place]))


def _threshold(similarities: Mapping[_Pair, NDArray[np.float32]]) -> float:
    """The least similarity above which at most FALSE_ACCEPTANCE of all matches of wrong pairs lies; all without any."""
    wrong = [found for pair, found in similarities.items() if pair.wrong]
    if not wrong:
        return float(np.nextafter(min(found.min() for found in similarities.values()), -np.inf, dtype=np.float32))
    return threshold_at(FALSE_ACCEPTANCE, np.concatenate(wrong))


def _packed(level: _Level, low: float, high: float, wide: bool) -> tuple[float, str]:
    """The level's score and its most similar matches, as `pairs.Levels` says; `high` has strength 255."""
    drawn = np.argsort(-level.similarity, kind="stable")[:MOST_LINES]
    similarity = level.similarity[drawn]
    strength = 1 + 254 * ((similarity - low) / max(high - low, 1e-12)).clip(0, 1)
    cell = np.dtype("<u2" if wide else "u1")
    packed = np.zeros(len(drawn), dtype=[("query", cell), ("gallery", cell), ("strength", "u1")])
    packed["query"], packed["gallery"] = level.query_cell[drawn], level.gallery_cell[drawn]
    packed["strength"] = np.where(similarity > low, np.round(strength), 0)
    return float(f"{level.score:.4g}"), base64.b64encode(packed.tobytes()).decode()


def _chunks(by_query: Sequence[list[_Pair]], model: Matcher, head: TestedHead) -> Iterator[list[_Pair]]:
    """The pairs of as many queries at a time as MEMORY holds, at least of one."""
    image = np.zeros((1, 3, head.record.config.input.height, head.record.config.input.width), dtype=np.uint8)
    per_image = image.nbytes + model.encode_all(image, np.arange(1), 1).bytes_per_image
    chunk: list[_Pair] = []
    for own in by_query:
        if chunk and (len(chunk) + len(own)) * per_image > MEMORY:
            yield chunk
            chunk = []
        chunk = [*chunk, *own]
    if chunk:
        yield chunk
