"""The evaluator: budgets, blocks, and that results do not depend on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fresh_python import run

from bench import evaluator
from bench.config import Evaluation
from bench.errors import CellFailed
from bench.evaluator import evaluate, pixel_baseline
from bench.metrics import rank_metrics
from bench.model import Matcher
from bench.scoring import block_shape, plan_scoring, score_all
from variants._laws import make, maps


@pytest.fixture
def model(tiny_config) -> Matcher:
    return Matcher(tiny_config(), "transmatcher", None).eval()


def test_results_are_those_of_scoring_everything_at_once(model, small_dataset):
    dataset, images = small_dataset
    found = evaluate(model, dataset, images, Evaluation())
    features = model.encode_all(images, np.arange(len(images)), 64)
    with torch.no_grad():
        scores = model.head.match(features[:6], features[6:])
    arrays = [
        np.array([getattr(r, key) for r in part])
        for key in ("person", "camera")
        for part in (dataset.query, dataset.gallery)
    ]
    expected = rank_metrics(-scores.numpy(), arrays[0], arrays[1], arrays[2], arrays[3])
    assert found.mAP == pytest.approx(expected.mAP) and found.rank1 == expected.rank1
    assert found.first_rank == expected.queries.first_rank.tolist()
    assert found.pairs == 6 * 42 and set(found.seconds) == {"encoding", "matching", "ranking"}


@pytest.mark.parametrize("kib", [2000, 60, 12, 1])
def test_a_smaller_budget_changes_no_result(model, small_dataset, kib):
    dataset, images = small_dataset
    whole = evaluate(model, dataset, images, Evaluation())
    tight = evaluate(model, dataset, images, Evaluation(memory_gib=kib / 2**20, batch=5))
    assert tight.first_rank == whole.first_rank
    np.testing.assert_allclose(tight.average_precision, whole.average_precision, atol=1e-6)


@pytest.mark.parametrize(("kib", "times"), [(100_000, 1), (1, 6)])
def test_an_image_is_encoded_once_where_the_budget_holds_it(model, small_dataset, monkeypatch, kib, times):
    dataset, images = small_dataset
    seen = np.zeros(len(images), dtype=int)
    encode_all = Matcher.encode_all

    def count(self, all_images, positions, batch, known=None, after=None):
        np.add.at(seen, positions[len(known) if known is not None else 0 :], 1)
        return encode_all(self, all_images, positions, batch, known, after)

    monkeypatch.setattr(Matcher, "encode_all", count)
    evaluate(model, dataset, images, Evaluation(memory_gib=kib / 2**20))
    assert seen[6:].tolist() == [times] * 42 and seen[:6].tolist() == [1] * 6


@pytest.mark.parametrize("disk", [0, 10**12])
def test_plans_stay_within_their_budget(disk):
    for budget in (10**6, 10**7, 10**8, 10**9, 10**10):
        plan = plan_scoring(3368, 15913, bytes_per_image=200_000, budget=budget, free_disk=disk)
        kept = 15913 * 200_000 if plan.keep == "memory" else budget // 16
        used = kept + plan.query_chunk * (200_000 + 4 * 15913) + plan.block_bytes
        assert used <= budget or plan.query_chunk == 1


@pytest.mark.parametrize(
    ("budget", "disk", "keep"), [(10**8, 0, "memory"), (10**6, 10**9, "disk"), (10**6, 10**6, "nothing")]
)
def test_the_gallery_is_kept_where_there_is_room(budget, disk, keep):
    plan = plan_scoring(3000, 1000, bytes_per_image=1000, budget=budget, free_disk=disk)
    assert plan.keep == keep and plan.query_chunk < 3000
    assert {"memory": "in memory", "disk": "on disk", "nothing": "encoded again"}[keep] in str(plan)


def test_an_image_is_encoded_once_where_the_disk_holds_it(model, small_dataset, monkeypatch, tmp_path):
    dataset, images = small_dataset
    seen = np.zeros(len(images), dtype=int)
    encode_all = Matcher.encode_all

    def count(self, all_images, positions, batch, known=None, after=None):
        np.add.at(seen, positions[len(known) if known is not None else 0 :], 1)
        return encode_all(self, all_images, positions, batch, known, after)

    monkeypatch.setattr(Matcher, "encode_all", count)
    tight = Evaluation(memory_gib=3 / 2**20, batch=6)
    spilled = evaluate(model, dataset, images, tight, folder=tmp_path)
    assert seen.tolist() == [1] * 48
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
    again = evaluate(model, dataset, images, tight)  # without a folder the gallery is encoded for each chunk
    assert seen[6:].min() > 2
    assert spilled.average_precision == again.average_precision and spilled.first_rank == again.first_rank


def test_an_interrupted_test_goes_on_where_it_was(model, small_dataset, monkeypatch, tmp_path):
    dataset, images = small_dataset
    tight = Evaluation(memory_gib=1 / 2**20, batch=6)
    whole = evaluate(model, dataset, images, tight)
    ranked = []
    rank_chunk = evaluator._rank_chunk

    def die_at_the_fourth_query(data, scores, start):
        if start == 3 and not ranked.count("interrupted"):
            ranked.append("interrupted")
            raise KeyboardInterrupt
        ranked.append(start)
        return rank_chunk(data, scores, start)

    monkeypatch.setattr(evaluator, "_rank_chunk", die_at_the_fourth_query)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, dataset, images, tight, folder=tmp_path)
    resumed = evaluate(model, dataset, images, tight, folder=tmp_path)
    assert ranked == [0, 1, 2, "interrupted", 3, 4, 5]
    assert resumed.average_precision == whole.average_precision and resumed.first_rank == whole.first_rank
    assert list(tmp_path.iterdir()) == []


def test_what_another_network_left_behind_is_not_taken_up(model, small_dataset, monkeypatch, tmp_path):
    dataset, images = small_dataset
    tight = Evaluation(memory_gib=1 / 2**20, batch=6)
    rank_chunk = evaluator._rank_chunk

    def die(data, scores, start):
        if start == 3:
            raise KeyboardInterrupt
        return rank_chunk(data, scores, start)

    monkeypatch.setattr(evaluator, "_rank_chunk", die)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, dataset, images, tight, folder=tmp_path)
    monkeypatch.undo()
    with torch.no_grad():
        model.backbone.neck.weight.mul_(-1)
    fresh = evaluate(model, dataset, images, tight)
    assert evaluate(model, dataset, images, tight, folder=tmp_path).average_precision == fresh.average_precision


@pytest.mark.parametrize("pairs", [1, 2, 3, 7, 12, 1000])
def test_blocks_hold_no_more_pairs_than_fit(pairs):
    head = make("transmatcher", {})
    rows, columns = block_shape(head, 5, 7, pairs * head.pair_bytes())
    assert 1 <= rows * columns <= pairs and rows <= 5 and columns <= 7
    query, gallery = head.encode(maps(5, 1)), head.encode(maps(7, 2))
    scores = score_all(head, query, gallery, pairs * head.pair_bytes())
    torch.testing.assert_close(scores, head.match(query, gallery), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", ["cpu", "plain"])
def test_a_block_of_the_full_size_head_fits_its_budget(kernel):
    """The measured peak of what is held. A smaller width is quicker, and a pair's memory does not depend on it.

    glibc keeps freed blocks of changing size, up to as much again in the process; a fixed threshold gives them back.
    """
    code = """
import torch
from pathlib import Path
from bench.scoring import block_shape, score_all
from variants import build
from variants._base import Repr
def peak(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
head = build("transmatcher", (128, 24, 8)).eval()
rows, columns = block_shape(head, 3368, 15913, 2**26)
query, gallery = (Repr(levels=torch.rand(count, 3, 192, 128)) for count in (rows, columns))
score_all(head, query[:2], gallery[:2], 2**26)
before = peak()
score_all(head, query, gallery, 2**26)
print(rows * columns, peak() - before)
"""
    pairs, held = map(int, run(code, PAIRBENCH_KERNEL=kernel, MALLOC_MMAP_THRESHOLD_="1000000").split())
    assert held <= 2**26 < pairs * 192 * 192 * 4


def test_nan_scores_end_the_run_with_their_reason(model, small_dataset):
    dataset, images = small_dataset
    with torch.no_grad():
        model.head.norm.weight.fill_(torch.nan)
    with pytest.raises(CellFailed, match="small: some scores are NaN"):
        evaluate(model, dataset, images, Evaluation())


def test_chance_and_pixels_are_told(model, small_dataset):
    dataset, images = small_dataset
    found = evaluate(model, dataset, images, Evaluation(), baselines=True)
    assert found.pixels == pixel_baseline(dataset, images) and found.pixels.mAP > 0.9  # plain colours are easy
    assert 0.1 < found.chance.mAP < 0.4
