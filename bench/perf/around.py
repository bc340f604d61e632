"""What surrounds matching, as comparisons: the data path, the metrics, and tests of the largest published size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import torch

import variants
from bench.errors import UserError
from bench.perf.data_path import measure_data_path
from bench.perf.ranking import measure_ranking
from bench.perf.records import Comparison, Streaming, Timing
from bench.perf.streaming import StreamingCase, StreamingSpeed, compare_gallery_sizes, measure_streaming

TENFOLD_SHAPE, TENFOLD_QUERIES, TENFOLD_GALLERY = (512, 4, 1), 600, 40_000
"""Maps and images of a test whose representations are ten times its memory budget."""


def data_path(repeats: int, device: torch.device) -> Comparison:
    """Images of training a second and core, beside decoding and changing them one by one with Pillow.

    On a GPU they are copied to it by one core and changed there; Pillow's have to be copied in the end.
    """
    found = measure_data_path(repeats=repeats, device=device)
    return Comparison(
        subject="data path, one core" + ("" if device.type == "cpu" else " and the GPU"),
        task="decode and augment",
        dtype="float32",
        size="384 x 128",
        units=found.images,
        unit="image",
        timings=[
            Timing(form="ours", seconds=list(found.suite_seconds)),
            Timing(form="plain", seconds=list(found.one_by_one_seconds)),
        ],
    )


def metrics(repeats: int) -> Comparison:
    """Rank-1, CMC and mAP at Market-1501's size, beside scikit-learn's average precision query by query."""
    size = {}
    try:
        found = measure_ranking(repeats=repeats)
        timings = [
            Timing(form="ours", seconds=list(found.suite_seconds)),
            Timing(form="plain", seconds=list(found.scikit_seconds)),
        ]
        size = {"size": f"{found.queries} x {found.gallery}", "units": found.queries}
    except UserError as fault:
        timings = [Timing(form="ours", note=str(fault)), Timing(form="plain", note=str(fault))]
        size = {"size": "not measured", "units": 1}
    return Comparison(subject="metrics", task="rank", dtype="float32", unit="query", timings=timings, **size)


def streaming_cases(subject: str, threads: int, device: str = "cpu") -> list[StreamingCase]:
    """Tests of a head whose representations are ten times their budget: spilled to disk, and encoded again."""
    found = variants.describe(subject)
    options = {key: value for key, value in {"feedforward": 64, "layers": 3}.items() if key in found.options}
    with torch.random.fork_rng(devices=[]):
        head = variants.build(subject, TENFOLD_SHAPE, **options).eval()
    with torch.inference_mode():
        per_image = head.encode(torch.zeros(1, *TENFOLD_SHAPE)).bytes_per_image
    return [
        StreamingCase(
            f"{subject}, tenfold, {how}",
            subject,
            options,
            TENFOLD_SHAPE,
            TENFOLD_QUERIES,
            TENFOLD_GALLERY,
            budget=per_image * (TENFOLD_QUERIES + TENFOLD_GALLERY) // 10,
            spill=spill,
            threads=threads,
            device=device,
        )
        for how, spill in (("on disk", True), ("encoded again", False))
    ]


def streaming(subject: str, repeats: int, threads: int, device: str = "cpu") -> Iterator[Streaming]:
    """A head on MSMT17's numbers of images with tiny made-up maps, the same on a tenth of the gallery, and tenfold."""
    tiny = {key: value for key, value in {"feedforward": 4, "layers": 1}.items() if key in _options(subject)}
    case = StreamingCase(f"{subject}, MSMT17's size", subject, tiny, (4, 2, 1), threads=threads, device=device)
    yield from map(_row, compare_gallery_sizes(case, repeats))
    for tenfold in streaming_cases(subject, threads, device):
        yield _row(measure_streaming(tenfold))


def _options(subject: str) -> Sequence[str]:
    return list(variants.describe(subject).options)


def _row(found: StreamingSpeed) -> Streaming:
    values = asdict(found)
    return Streaming(**{key: values[key] for key in Streaming.model_fields})
