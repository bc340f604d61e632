"""A whole test of a row as a run makes it, and its parts, on made-up images."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.computing import compute_as_runs_do
from bench.data.tensors import ChosenImages
from bench.perf.measure import LEAST_REPEATS, PATIENCE, in_fresh_process
from bench.perf.peak import why_it_failed
from bench.perf.records import Breakdown, Part
from bench.perf.rows import StudyRow, described, made_up_images
from bench.perf.streaming import made_up_test
from bench.system.processes import Died
from bench.testing.evaluator import evaluate

SIZES = {"cpu": (64, 512), "cuda": (1024, 4096)}
"""Queries and gallery images, where nobody asks for other numbers."""

DRAWN = 64
"""Images that are drawn; queries and gallery repeat them."""

PHASES = {"encode": "encoding", "match": "matching", "rank": "ranking"}
"""The parts of a test, in their order, and what a record calls them."""


def measure_test(row: StudyRow, queries: int, gallery: int, repeats: int, device: str) -> Breakdown:
    """Seconds of whole tests and of their parts, in a process where nothing ran before.

    What fails leaves its reason.
    """
    size = described((queries, gallery))
    try:
        found = in_fresh_process(torch.device(device), _measure, row, queries, gallery, repeats, device)
    except Exception as fault:  # a head from outside may raise anything
        note = str(fault) if isinstance(fault, Died) else why_it_failed(fault)
        return Breakdown(task="test", **row.names, size=size, note=note)
    return Breakdown(task="test", **row.names, size=size, **found)


def _measure(row: StudyRow, queries: int, gallery: int, repeats: int, device_name: str) -> dict[str, object]:
    device = torch.device(device_name)
    compute_as_runs_do(device, row.threads, row.config.tf32)
    model, dataset = row.model(device).eval(), made_up_test(range(queries), gallery)
    made: list[float] = []
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn = made_up_images(folder, row.config.input, min(DRAWN, queries + gallery))
        images = ChosenImages(drawn, np.arange(queries + gallery) % len(drawn))
        begin = time.perf_counter()
        # The first is not counted: libraries are loaded and kernels compiled in it.
        for repeat in range(repeats + 1):
            if repeat > min(LEAST_REPEATS, repeats) and time.perf_counter() - begin > PATIENCE:
                break
            start = time.perf_counter()
            results.append(evaluate(model, dataset, images, row.config.evaluation, folder=folder))
            made.append(time.perf_counter() - start)
    units = {"encode": (queries + gallery, "image"), "match": (queries * gallery, "pair"), "rank": (queries, "query")}
    return {
        "seconds": made[1:],
        "parts": [
            Part(name=part, seconds=[result.seconds[PHASES[part]] for result in results[1:]], units=count, unit=unit)
            for part, (count, unit) in units.items()
        ],
        "peak_bytes": max(result.peak_bytes for result in results),
    }
