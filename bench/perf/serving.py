"""A standing gallery that answers queries: seconds from a decoded picture to its best matches, and the memory it takes.

Pictures are random pixels and weights those of a seed: neither time nor memory depends on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.cards import read_card
from bench.computing import compute_as_runs_do
from bench.config import CellConfig
from bench.network.matcher import Matcher
from bench.perf.measure import LEAST_REPEATS, in_fresh_process, seconds_of
from bench.perf.peak import why_it_failed
from bench.perf.records import QueryTimes, Serving
from bench.stopwatch import peak_bytes, reset_peak
from bench.study.plan import resolve
from bench.system.processes import Died
from bench.testing.searching import BLOCK_BYTES, find_best
from variants._base import Repr

BATCH = 64
"""Queries of a call that measures throughput."""
TOP = 10
"""Best pictures of the gallery that each query gets."""
DRAWN = 64
"""Pictures that are drawn and encoded; the gallery repeats their representations."""
CALLS_A_REPEAT = 20
"""Calls with one query for each repeat, so that a 95th percentile means something."""
PATIENCE = 20.0
"""Seconds that the calls of one size of batch may take."""
FIRST_PICTURES = 16
"""Of the gallery, with which it is found out how many a call can go through in time."""
GROWTH = 4
"""How many times more pictures are tried each time."""
SORTING_BYTES = 40
"""Of a query and picture: score and position, beside their sorted copies."""


@dataclass(frozen=True)
class ServingCase:
    """A row of a study, as its cell is planned, with a gallery of so many pictures.

    `head` is what `variants.build` takes; `config.evaluation.scoring` is the dtype that representations are kept in.
    """

    study: str
    preset: str
    row: str
    head: str
    config: CellConfig
    gallery: int

    def bytes_needed(self, bytes_per_image: int) -> int:
        """Memory beside the network: the gallery, a block of pairs, and what sorting takes."""
        sorted_at_once = min(self.gallery, max(1, BLOCK_BYTES // bytes_per_image))
        return self.gallery * bytes_per_image + _block_bytes(self.config) + BATCH * SORTING_BYTES * sorted_at_once


def measure_serving(case: ServingCase, repeats: int, threads: int, device: str) -> Serving:
    """Latency of one query and throughput of a batch, in a process where nothing ran before.

    Throughput is of `repeats` calls, latency of CALLS_A_REPEAT times as many, or of fewer where they take more than
    PATIENCE seconds. What fails leaves its reason.
    """
    try:
        return in_fresh_process(torch.device(device), _measure, case, repeats, threads, device)
    except Exception as fault:  # a head from outside may raise anything
        note = str(fault) if isinstance(fault, Died) else why_it_failed(fault)
        return _found(case, note=note)


def _measure(case: ServingCase, repeats: int, threads: int, device_name: str) -> Serving:
    device = torch.device(device_name)
    compute_as_runs_do(device, threads, case.config.tf32)
    precision = read_card(device).precision if device.type == "cuda" else "fp32"
    # No file of weights is read: any weights do.
    model = Matcher(resolve(case.config, device.type, precision, threads), case.head, None).to(device).eval()
    images = _draw(case.config)
    drawn = _encode(case, model, images, DRAWN)
    # Libraries are loaded and kernels compiled before memory is measured.
    _search(case, model, drawn[:2], drawn[:2])
    reset_peak(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else peak_bytes(device)
    gallery = drawn[torch.arange(case.gallery, device=device) % DRAWN]

    def serve(batch: int) -> Callable[[int], tuple[float, float]]:
        def call(pictures: int) -> tuple[float, float]:
            found: list[Repr] = []
            encode = seconds_of(lambda: found.append(_encode(case, model, images, batch)), device)
            return encode, seconds_of(lambda: _search(case, model, found[0], gallery[:pictures]), device)

        return call

    return _found(
        case,
        latency=query_times(serve(1), 1, case.gallery, repeats * CALLS_A_REPEAT, CALLS_A_REPEAT),
        throughput=query_times(serve(BATCH), BATCH, case.gallery, repeats, LEAST_REPEATS),
        bytes_per_image=gallery.bytes_per_image,
        growth_bytes=max(0, peak_bytes(device) - before),
    )


def query_times(
    serve: Callable[[int], tuple[float, float]], batch: int, gallery: int, most: int, least: int
) -> QueryTimes:
    """Up to `most` calls of `serve`, which takes a number of pictures and returns seconds of encoding and matching.

    They go through all of the gallery if `least` such calls take no more than PATIENCE seconds, else through the most
    pictures with which they do, in steps of GROWTH. At least `least` are made, and more while PATIENCE lasts.
    """
    least, pictures = min(least, most), min(gallery, FIRST_PICTURES)
    while True:
        encode, match = serve(pictures)
        more = min(gallery, GROWTH * pictures)
        if pictures == gallery or least * (encode + match * more / pictures) > PATIENCE:
            break
        pictures = more
    made: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(made) < most and (len(made) < least or time.perf_counter() - begin < PATIENCE):
        made.append(serve(pictures))
    encoding, matching = zip(*made, strict=True)
    return QueryTimes(batch=batch, pictures=pictures, encode=list(encoding), match=list(matching))


def _found(case: ServingCase, **measured: object) -> Serving:
    names = {"study": case.study, "preset": case.preset, "row": case.row, "dtype": case.config.evaluation.scoring}
    return Serving(**names, gallery=case.gallery, **measured)


def _draw(config: CellConfig) -> NDArray[np.uint8]:
    """[DRAWN, 3, H, W], the same for all rows."""
    draws = np.random.default_rng(0)
    return draws.integers(0, 256, (DRAWN, 3, config.input.height, config.input.width), dtype=np.uint8)


def _encode(case: ServingCase, model: Matcher, images: NDArray[np.uint8], count: int) -> Repr:
    """The first `count` pictures, at once."""
    return model.encode_all(images, np.arange(count), count, case.config.evaluation.scoring)


def _search(case: ServingCase, model: Matcher, query: Repr, gallery: Repr) -> None:
    scoring = case.config.evaluation.scoring
    find_best(model.head, query, gallery, TOP, _block_bytes(case.config), model.device, scoring)


def _block_bytes(config: CellConfig) -> int:
    """For the working memory of a call of `match`: what a test takes of its budget."""
    return int(config.evaluation.memory_gib * 2**30) // 4
