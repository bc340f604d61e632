"""Testing with made-up features at the largest published size: rate and memory of everything but the backbone.

Feature maps stand in for images, so that nothing is computed but what a test does per representation and per pair:
the suite's own planning, encoding by the head, scoring, ranking and summing up.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import variants
from bench.computing import compute_as_runs_do
from bench.config import Evaluation, Option, Scoring
from bench.data import ImageRecord
from bench.data.dataset import Dataset
from bench.network.matcher import Matcher
from bench.perf.measure import in_fresh_process
from bench.stopwatch import Stopwatch, peak_bytes, reset_peak
from bench.testing.evaluator import evaluate
from bench.testing.scoring import Scorer

MSMT_QUERIES, MSMT_GALLERY = 11_659, 82_161
"""The largest published test set, MSMT17's."""

_IMAGES_OF_A_PERSON, _CAMERAS = 25, 5


@dataclass(frozen=True)
class StreamingCase:
    """A test to run: a head (name or path) with its options on made-up maps [d, h, w], within a budget in bytes."""

    name: str
    head: str
    options: Mapping[str, Option] = field(default_factory=dict)
    feature_shape: tuple[int, int, int] = (8, 2, 2)
    queries: int = MSMT_QUERIES
    gallery: int = MSMT_GALLERY
    budget: int = 2 * 2**30
    spill: bool = True
    """Whether representations that memory does not hold may go to disk; else they are encoded again."""
    scoring: Scoring = "float32"
    threads: int = 2
    device: str = "cpu"


@dataclass(frozen=True)
class StreamingSpeed:
    """What a case took. `seconds` by repeat, each a part of the queries; together they are all of them."""

    name: str
    queries: int
    gallery: int
    seconds: tuple[float, ...]
    rates: tuple[float, ...]
    """Pairs a second, by repeat: encoding by the head, scoring and ranking."""
    peak_bytes: int
    """Of the GPU, or on a CPU of the whole process; the largest of all repeats."""
    growth_bytes: int
    """The same, above what was held before the test began."""
    representation_bytes: int
    """What the representations of queries and gallery take together."""
    budget: int
    plan: str
    mAP: float
    """Mean of the repeats; near that of chance."""

    @property
    def rate(self) -> float:
        """Pairs a second, the median of the repeats."""
        return statistics.median(self.rates)


@dataclass(frozen=True)
class _Part:
    seconds: float
    pairs: int
    peak_bytes: int
    growth_bytes: int
    representation_bytes: int
    plan: str
    mAP: float


def measure_streaming(case: StreamingCase, repeats: int = 1) -> StreamingSpeed:
    """Run a case, each repeat another part of the queries, in a process of its own; together they are all queries."""
    return _summary(case, [_in_fresh_process(case, repeat, repeats) for repeat in range(repeats)])


def compare_gallery_sizes(case: StreamingCase, repeats: int = 5) -> tuple[StreamingSpeed, StreamingSpeed]:
    """A case, and the same with a tenth of the gallery, their repeats interleaved."""
    tenth = replace(case, name=f"{case.name}, a tenth of the gallery", gallery=case.gallery // 10)
    parts = [
        (_in_fresh_process(case, repeat, repeats), _in_fresh_process(tenth, repeat, repeats))
        for repeat in range(repeats)
    ]
    return _summary(case, [part for part, _ in parts]), _summary(tenth, [part for _, part in parts])


class MadeUpFeatures(Matcher):
    """A network without a backbone: its images are feature maps [n, d, h, w] uint8."""

    def __init__(self, case: StreamingCase) -> None:
        nn.Module.__init__(self)
        self.backbone, self.precision = nn.Identity(), "fp32"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.head = variants.build(case.head, case.feature_shape, **case.options)
        self.eval()


def made_up_set(case: StreamingCase, part: int = 0, parts: int = 1) -> tuple[Dataset, NDArray[np.uint8]]:
    """One of several parts of the queries with the whole gallery: persons and cameras in turn; and random maps."""
    dataset = made_up_test(range(case.queries * part // parts, case.queries * (part + 1) // parts), case.gallery)
    draws = np.random.default_rng((1, part, parts))
    shape = len(dataset.query) + len(dataset.gallery), *case.feature_shape
    return dataset, draws.integers(0, 256, shape, dtype=np.uint8)


def made_up_test(queries: Iterable[int], gallery: int) -> Dataset:
    """A test set without images: persons and cameras in turn, each query with matches in other cameras."""
    persons = max(1, gallery // _IMAGES_OF_A_PERSON)
    query = tuple(ImageRecord(Path(), position % persons, position % _CAMERAS) for position in queries)
    records = tuple(
        ImageRecord(Path(), position % persons, (position // persons + 1) % _CAMERAS) for position in range(gallery)
    )
    return Dataset("made up", Path(), (), query, records, "0" * 64)


def _in_fresh_process(case: StreamingCase, part: int, parts: int) -> _Part:
    # A process that ran nothing before: what earlier work left in memory would be counted, or hide what is needed.
    return in_fresh_process(torch.device(case.device), _run, case, part, parts)


def _run(case: StreamingCase, part: int, parts: int) -> _Part:
    device = torch.device(case.device)
    compute_as_runs_do(device, case.threads)
    model, (dataset, images) = MadeUpFeatures(case).to(device), made_up_set(case, part, parts)
    settings = Evaluation(memory_gib=case.budget / 2**30, scoring=case.scoring)
    positions = np.arange(len(images))
    queries = len(dataset.query)
    with tempfile.TemporaryDirectory() as folder:
        spill = Path(folder) if case.spill else None
        scorer = Scorer(model, images, positions[:queries], positions[queries:], settings, Stopwatch(device), spill)
        plan, work = str(scorer.plan), scorer.plan.work
        reset_peak(device)
        before = peak_bytes(device)
        start = time.perf_counter()
        result = evaluate(model, dataset, images, settings, folder=spill)
        seconds = time.perf_counter() - start
        peak = peak_bytes(device)
    size = work.bytes_per_image * (work.queries + work.gallery)
    return _Part(seconds, result.pairs, peak, peak - before, size, plan, result.mAP)


def _summary(case: StreamingCase, parts: list[_Part]) -> StreamingSpeed:
    return StreamingSpeed(
        name=case.name,
        queries=case.queries,
        gallery=case.gallery,
        seconds=tuple(part.seconds for part in parts),
        rates=tuple(part.pairs / part.seconds for part in parts),
        peak_bytes=max(part.peak_bytes for part in parts),
        growth_bytes=max(part.growth_bytes for part in parts),
        representation_bytes=max(part.representation_bytes for part in parts),
        budget=case.budget,
        plan=parts[0].plan,
        mAP=statistics.fmean(part.mAP for part in parts),
    )
