"""A test whose memory runs out goes on with smaller blocks, to the same scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cut_at import CutAt

from bench.config import Evaluation
from bench.errors import CellFailed
from bench.network.matcher import Matcher
from bench.progress import Progress
from bench.system.signals import Interrupted
from bench.testing.blocks import BlockScorer
from bench.testing.evaluator import evaluate
from variants import build
from variants._base import Repr


def short_of_memory(monkeypatch, head_class: type, most: int) -> list[int]:
    """`match` of more than `most` pairs runs out of memory; returns the pairs of each call."""
    match, calls = head_class.match, []

    def limited(self, query, gallery):
        calls.append(len(query) * len(gallery))
        if calls[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return match(self, query, gallery)

    monkeypatch.setattr(head_class, "match", limited)
    return calls


@pytest.fixture
def sides() -> tuple[Repr, Repr]:
    return tuple(Repr(levels=torch.randn(count, 1, 6, 8)) for count in (8, 12))


@pytest.mark.parametrize(("most", "parts"), [(96, 1), (50, 2), (24, 4), (1, 128)])
def test_blocks_are_halved_until_they_fit_and_stay_small(monkeypatch, sides, most, parts):
    head = build("transmatcher", (8, 6, 1), layers=1, feedforward=16).eval()
    with torch.inference_mode():
        expected = head.match(*sides)
    calls, told, landed = short_of_memory(monkeypatch, type(head), most), [], []
    scorer = BlockScorer(head, 2**30, say=told.append)
    for _ in range(2):
        out = torch.empty(8, 12)
        scorer.score(*sides, out, landed.append)
        scorer.finish()
        torch.testing.assert_close(out, expected)
    assert scorer.parts == parts and len(told) == parts.bit_length() - 1
    assert [len(block) for block in landed] == [8, 8]  # a block is told once, as a whole
    assert sum(count for count in calls if count <= most) >= 2 * 96
    assert all(count <= most for count in calls[-96 // most :])


def test_where_a_single_pair_does_not_fit_what_to_lower_is_told(monkeypatch, sides):
    head = build("transmatcher", (8, 6, 1), layers=1, feedforward=16)
    short_of_memory(monkeypatch, type(head), 0)
    with pytest.raises(CellFailed, match=r"a single pair of images .* lower evaluation\.gpu_memory_gib on a GPU"):
        BlockScorer(head, 2**30).score(*sides, torch.empty(8, 12))


def test_other_faults_are_not_taken_for_it(monkeypatch, sides):
    head = build("transmatcher", (8, 6, 1), layers=1, feedforward=16)
    monkeypatch.setattr(type(head), "match", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        BlockScorer(head, 2**30).score(*sides, torch.empty(8, 12))


def test_a_test_goes_on_says_so_once_a_halving_and_records_it(pooling_model, small_dataset, monkeypatch, capfd):
    dataset, images = small_dataset
    model = pooling_model()
    whole = evaluate(model, dataset, images, Evaluation())
    short_of_memory(monkeypatch, type(model.head), 80)
    found = evaluate(model, dataset, images, Evaluation(), progress=Progress())
    assert found.first_rank == whole.first_rank and (whole.block_parts, found.block_parts) == (1, 4)
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"memory ran out: blocks of pairs are cut into {parts} parts from here on" for parts in (2, 4)]


def test_it_is_taken_up_again_by_a_process_with_enough_memory(pooling_model, small_dataset, monkeypatch, tmp_path):
    dataset, images = small_dataset
    model, settings = pooling_model(), Evaluation(memory_gib=12 / 2**20, batch=5)
    counting = CutAt(0)
    whole = evaluate(model, dataset, images, settings, folder=tmp_path, pulse=counting)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        short_of_memory(patch, type(model.head), 2)
        evaluate(model, dataset, images, settings, folder=tmp_path, pulse=CutAt(counting.chances - 1))
    scored = short_of_memory(monkeypatch, type(model.head), 10**9)
    found = evaluate(model, dataset, images, settings, folder=tmp_path)
    assert sum(scored) < 6 * 42 and found.average_precision == whole.average_precision


def test_images_are_encoded_fewer_at_a_time(pooling_model, small_dataset, monkeypatch):
    _, images = small_dataset
    model, positions = pooling_model(), np.arange(11)
    expected = model.encode_all(images, positions, 8)
    encode, sizes = Matcher.encode, []

    def limited(self, pixels):
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(self, pixels)

    monkeypatch.setattr(Matcher, "encode", limited)
    torch.testing.assert_close(model.encode_all(images, positions, 8).levels, expected.levels)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    monkeypatch.setattr(Matcher, "encode", lambda self, pixels: limited(self, torch.empty(4)))
    with pytest.raises(CellFailed, match=r"to encode a single image .* lower evaluation"):
        model.encode_all(images, positions, 8)
