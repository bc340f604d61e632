"""A row's training step and test in a few small tiles, within seconds: what `bench plan` projects from.

A step is made with few images first, and with the whole batch where that will take no longer than it may. Where it
would, its time per image and its time per pair of images are told apart by matching alone, on as many images as fit.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.computing import compute_as_runs_do
from bench.config import CellConfig
from bench.network.matcher import Matcher
from bench.perf.measure import in_fresh_process, seconds_of
from bench.perf.peak import why_it_failed
from bench.perf.rows import StudyRow, made_up_images
from bench.perf.step import Steps
from bench.perf.streaming import made_up_test
from bench.perf.works import LARGEST_TEST
from bench.stopwatch import peak_bytes, reset_peak
from bench.system.processes import Died
from bench.testing.blocks import CPU_CACHE_FRIENDLY_BYTES, block_shape, score_all
from bench.testing.device_memory import gpu_budget
from bench.testing.lists import Lists
from bench.testing.memory_budget import ScoringPlan, Work, plan_scoring
from bench.testing.ranking import rank_chunk
from bench.training.losses import mean_of_finite, pairwise_matching_loss
from bench.training.memory import predicted_training_bytes
from variants._base import Repr

FEW = 2, 2
"""Persons of the smallest batch, and images of each."""
RANKED = 8
"""Queries that are ranked to know how long one takes."""
ENCODED = 8
"""Images whose representations the blocks of pairs repeat."""
MOST_CALLS = 5
STEP_SHARE, MATCH_SHARE, TEST_SHARE = 0.6, 0.15, 0.25
"""Of a row's seconds: for whole steps, for matching alone, for the tiles of a test."""


@dataclass(frozen=True)
class Tiles:
    """What was measured of a row, in seconds and bytes; nothing but `note` where it failed."""

    batch: int = 0
    """Images of a training batch."""
    timed: int = 0
    """Images of the largest batch that was timed whole: less than `batch` where a step is projected."""
    step: float = 0.0
    image: float = 0.0
    """Of a test: an image encoded."""
    pair: float = 0.0
    """Of a test: a pair in a block."""
    ranked: dict[int, float] = field(default_factory=dict)
    """A query ranked, by the number of gallery images."""
    training_bytes: int = 0
    """Peak of a step, of the GPU or on a CPU of the process: measured with `timed` images, counted for the others."""
    testing_bytes: int = 0
    """The same of the tiles of a test, whose representations and scores are small."""
    host_bytes: int = 0
    """Peak of the process."""
    state_bytes: int = 0
    """Weights and statistics."""
    momentum_bytes: int = 0
    bytes_per_image: int = 0
    pair_bytes: int = 0
    gpu: int | None = None
    """Bytes of the GPU that a test may take."""
    symmetric: bool = True
    note: str = ""

    def plan(self, queries: int, gallery: int, both_ways: bool, budget: int, batch: int) -> ScoringPlan:
        """How a test goes. `budget` in bytes; whatever goes to disk is taken to have room."""
        work = Work(queries, gallery, self.bytes_per_image, self.pair_bytes, both_ways)
        return plan_scoring(work, budget, 2**62, batch, self.gpu)


def measure_tiles(row: StudyRow, galleries: Sequence[int], seconds: float, device: str) -> Tiles:
    """A row in at most about `seconds` beside what starting takes, in a process where nothing ran before.

    `galleries` are the sizes for which ranking is timed. What fails leaves its reason.
    """
    try:
        return in_fresh_process(torch.device(device), _measure, row, tuple(galleries), seconds, device)
    except Exception as fault:  # a head from outside may raise anything
        return Tiles(note=str(fault) if isinstance(fault, Died) else why_it_failed(fault))


def _measure(row: StudyRow, galleries: Sequence[int], seconds: float, device_name: str) -> Tiles:
    device = torch.device(device_name)
    compute_as_runs_do(device, row.threads, row.config.tf32)
    with tempfile.TemporaryDirectory() as name:
        model, trained = _step(row, device, Path(name), seconds)
        tested = _test(row, model, device, Path(name), seconds * TEST_SHARE)
    ranked = {gallery: _rank(gallery) for gallery in galleries}
    return Tiles(**trained, **tested, ranked=ranked, host_bytes=peak_bytes(torch.device("cpu")))


def _step(row: StudyRow, device: torch.device, folder: Path, seconds: float) -> tuple[Matcher, dict[str, int | float]]:
    """The network, and seconds and bytes of a training step."""
    training = row.config.training
    batch = training.persons * training.images
    steps = Steps(row, device, folder, FEW)
    timed = len(steps.batches[0])
    steps.whole()
    reset_peak(device)
    laps = steps.by_parts()
    step = sum(laps.seconds.values())
    if timed < batch:
        matching = _matching(steps.model, row, timed, batch, seconds * MATCH_SHARE, device)
        step = projected_step(step, laps.seconds["optimiser"], matching, timed, batch)
    if 3 * step <= seconds * STEP_SHARE:
        steps, timed = Steps(row, device, folder), batch
        steps.whole()
        reset_peak(device)
        step = _typical(steps.whole, device, seconds * STEP_SHARE)
    model, peak = steps.model, peak_bytes(device)
    if timed < batch:
        # Some seconds, and memory of its own: only where it is needed, and behind what is measured.
        peak += _counted(row.config, row.head, device) - _counted(steps.config, row.head, device)
    return model, {
        "batch": batch,
        "timed": timed,
        "step": step,
        "training_bytes": peak,
        "state_bytes": _bytes(model.state_dict().values()),
        "momentum_bytes": _bytes(model.parameters()),
    }


def projected_step(step: float, optimiser: float, matching: dict[int, float], timed: int, batch: int) -> float:
    """Seconds of a step with `batch` images, from one with `timed` that took `step`, and its optimiser's.

    `matching` has seconds of matching with its backward pass by number of images, `timed` among them: it grows with
    pairs, the optimiser not at all, and all else with images.
    """
    most = max(matching)
    per_image = max(0.0, step - optimiser - matching[timed]) / timed
    return batch * per_image + matching[most] * (batch / most) ** 2 + optimiser


def _counted(config: CellConfig, head: str, device: torch.device) -> int:
    return predicted_training_bytes(config, head, device.type)


def _matching(
    model: Matcher, row: StudyRow, images: int, most: int, seconds: float, device: torch.device
) -> dict[int, float]:
    """Seconds of `match`, loss and backward pass by number of images, from `images` to as many as time allows."""
    size = row.config.input
    with torch.no_grad(), model.autocast():
        some = model.encode(torch.rand(images, 3, size.height, size.width, device=device))

    def make(number: int) -> Callable[[], None]:
        kept, ids = _repeated(some, number), torch.arange(number, device=device) // row.config.training.images

        def match() -> None:
            with model.autocast():
                scores = model.head.match(kept, kept)
            loss, _ = pairwise_matching_loss(scores.float(), ids)
            mean_of_finite(loss).backward()

        return match

    found = _grown(make, images, most, 4, seconds, device, begun=True)
    model.zero_grad(set_to_none=True)
    return found


def _test(row: StudyRow, model: Matcher, device: torch.device, folder: Path, seconds: float) -> dict[str, Any]:
    """Seconds and bytes of the tiles of a test."""
    settings, head = row.config.evaluation, model.head
    images = made_up_images(folder, row.config.input, settings.batch)
    reset_peak(device)

    def encode(number: int) -> Callable[[], Repr]:
        return lambda: model.encode_all(images, np.arange(number), number, settings.scoring)

    encoding = _grown(encode, 1, settings.batch, 2, seconds / 2, device)
    some = encode(min(ENCODED, settings.batch))()
    gpu = gpu_budget(settings, device)
    work = Work(*LARGEST_TEST, some.bytes_per_image, head.pair_bytes())
    plan = plan_scoring(work, int(settings.memory_gib * 2**30), 2**62, settings.batch, gpu)
    rows, columns = block_shape(head, plan.query_chunk, work.gallery, _of_a_call(plan, device))

    def match(side: int) -> Callable[[], object]:
        query, gallery = (_repeated(some, min(side, most)) for most in (rows, columns))
        return lambda: score_all(head, query, gallery, plan.block_bytes, scoring=settings.scoring)

    matching = _grown(match, 2, max(rows, columns, 2), 4, seconds / 2, device)
    side = max(matching)
    query, gallery = min(side, rows), min(side, columns)
    return {
        "image": encoding[max(encoding)] / max(encoding),
        "pair": matching[side] / (query * gallery),
        "testing_bytes": peak_bytes(device) - (query + gallery) * some.bytes_per_image,
        "bytes_per_image": some.bytes_per_image,
        "pair_bytes": head.pair_bytes(),
        "gpu": gpu,
        "symmetric": head.symmetric,
    }


def _of_a_call(plan: ScoringPlan, device: torch.device) -> int:
    """Working memory of a call of `match`."""
    return min(plan.block_bytes, CPU_CACHE_FRIENDLY_BYTES) if device.type == "cpu" else plan.block_bytes


def _rank(gallery: int) -> float:
    """Seconds of a query that is ranked among so many images."""
    dataset = made_up_test(range(RANKED), gallery)
    scores = np.random.default_rng(0).random((RANKED, gallery), dtype=np.float32)
    start = time.perf_counter()
    rank_chunk(dataset, scores, 0, Lists())
    return (time.perf_counter() - start) / RANKED


def _grown(
    make: Callable[[int], Callable[[], object]],
    least: int,
    most: int,
    factor: int,
    seconds: float,
    device: torch.device,
    begun: bool = False,
) -> dict[int, float]:
    """Seconds by size of what `make` makes of a size: from `least` on, doubled up to `most` while time lasts.

    `factor` tells how much longer twice the size is taken to take. The first is done once before, unmeasured, unless
    its like was done already: `begun`.
    """
    begin, size, found = time.perf_counter(), least, {}
    if not begun:
        make(least)()
    while True:
        found[size] = seconds_of(make(size), device)
        if size >= most or time.perf_counter() - begin + factor * found[size] > seconds:
            return found
        size = min(most, 2 * size)


def _typical(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The median of as many calls as time allows, of one at least and of MOST_CALLS at most."""
    begin, found = time.perf_counter(), []
    while len(found) < MOST_CALLS and (not found or time.perf_counter() - begin + found[-1] < seconds):
        found.append(seconds_of(run, device))
    return statistics.median(found)


def _repeated(some: Repr, count: int) -> Repr:
    """As many images, which repeat the given ones."""
    return some[torch.arange(count) % len(some)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
