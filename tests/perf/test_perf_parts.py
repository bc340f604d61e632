"""Measurements of streaming, ranking and the data path: that they measure what they say."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from bench.config import Augmentation, Evaluation
from bench.data.images import decode
from bench.data.tensors import pick, to_float
from bench.errors import UserError
from bench.perf.data_path import change_with_pillow, draw_jpegs, measure_data_path
from bench.perf.ranking import measure_ranking
from bench.perf.streaming import MadeUpFeatures, StreamingCase, compare_gallery_sizes, made_up_set, measure_streaming
from bench.testing.evaluator import evaluate
from bench.training.augment import apply_changes, draw_change

SMALL = StreamingCase("small", "transmatcher", {"feedforward": 8, "layers": 1}, (8, 2, 1), queries=40, gallery=600)


def test_the_parts_of_the_queries_are_all_queries():
    whole, _ = made_up_set(SMALL)
    parts = [made_up_set(SMALL, part, 3)[0] for part in range(3)]
    assert sum((part.query for part in parts), ()) == whole.query and len(whole.query) == 40
    assert all(part.gallery == whole.gallery for part in parts) and len(whole.gallery) == 600


def test_made_up_features_run_through_the_evaluator():
    result = evaluate(MadeUpFeatures(SMALL), *made_up_set(SMALL), Evaluation())
    assert result.pairs == 40 * 600 and len(result.query_index) == 40
    assert result.mAP == pytest.approx(result.chance.mAP, rel=0.5)  # features say nothing of persons


def test_gallery_sizes_are_compared_over_the_same_queries():
    whole, tenth = compare_gallery_sizes(SMALL, repeats=2)
    assert (whole.gallery, tenth.gallery) == (600, 60) and whole.queries == tenth.queries == 40
    assert len(whole.seconds) == len(whole.rates) == 2 and min(whole.rates) > 0
    assert whole.peak_bytes > whole.growth_bytes >= 0


@pytest.mark.slow
@pytest.mark.parametrize(("spill", "words"), [(True, "kept on disk"), (False, "encoded again for each chunk")])
def test_ten_times_the_budget_is_tested_within_the_budget(spill, words):
    """The growth of the whole process, with 40 MiB that Python, PyTorch and the operator take whatever the sizes."""
    case = StreamingCase(
        "tenfold", "transmatcher", {"feedforward": 16, "layers": 1}, (1024, 2, 2), 400, 26_500, 40 * 2**20, spill
    )
    found = measure_streaming(case)
    assert found.representation_bytes > 10 * case.budget and words in found.plan
    assert found.growth_bytes < case.budget + 40 * 2**20


def test_the_metrics_agree_with_scikit_learn():
    found = measure_ranking(queries=60, gallery=900, repeats=1)
    assert found.suite_mAP == pytest.approx(found.scikit_mAP, rel=1e-9) and found.ratio > 0


def test_without_scikit_learn_the_comparison_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        measure_ranking(10, 10, 1)


def test_both_data_paths_give_the_same_images(tmp_path):
    settings = Augmentation()
    for number, path in enumerate(draw_jpegs(tmp_path, 6, seed=1)):
        change = draw_change(settings, 384, 128, 0, 1, number)
        image = to_float(decode(path, 384, 128)[None].copy(), torch.device("cpu"))
        ours = apply_changes(image, [change], settings.pad)[0]
        theirs = change_with_pillow(path, change, settings)
        # Pillow rounds to 1/255 after each change, and its hues come in steps of 1/255.
        assert (ours - theirs).abs().mean() < 0.02


def test_rates_of_the_data_path_are_ratios_of_one_run():
    threads = torch.get_num_threads()
    found = measure_data_path(images=4, batch=2, repeats=2)
    assert len(found.suite_seconds) == len(found.one_by_one_seconds) == 2 and torch.get_num_threads() == threads
    assert found.ratio == pytest.approx(found.suite_rate / found.one_by_one_rate)


def test_what_is_picked_from_a_mapped_file_is_a_copy_that_stays(tmp_path):
    images = np.arange(60, dtype=np.uint8).reshape(5, 3, 2, 2)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = pick(mapped, np.array([3, 0, 3]))
    assert np.array_equal(found, images[[3, 0, 3]]) and found.flags.owndata
    assert np.array_equal(pick(mapped, np.arange(5)), images)
