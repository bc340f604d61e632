"""A test that is cut short goes on to the same ranks, and repeats nothing."""

from __future__ import annotations

import pytest
from cut_at import CutAt

from bench.config import Evaluation
from bench.network.matcher import Matcher
from bench.system.signals import Interrupted
from bench.testing.evaluator import evaluate


@pytest.mark.slow
@pytest.mark.parametrize("kib", [100_000, 12, 7])
def test_a_test_cut_at_any_safe_point_ends_with_the_same_ranks(pooling_model, small_dataset, tmp_path, kib):
    """With the gallery's representations in memory, on disk, and scores in many blocks."""
    dataset, images = small_dataset
    model = pooling_model()
    settings = Evaluation(memory_gib=kib / 2**20, batch=5)
    counting = CutAt(0)
    (tmp_path / "whole").mkdir()
    whole = evaluate(model, dataset, images, settings, folder=tmp_path / "whole", pulse=counting)
    for chance in range(1, counting.chances + 1, max(1, counting.chances // 6)):
        folder = tmp_path / str(chance)
        folder.mkdir()
        with pytest.raises(Interrupted):
            evaluate(model, dataset, images, settings, folder=folder, pulse=CutAt(chance))
        done = evaluate(model, dataset, images, settings, folder=folder)
        assert done.first_rank == whole.first_rank and done.average_precision == whole.average_precision, chance
        assert list(folder.iterdir()) == []


def test_nothing_is_encoded_or_scored_again(pooling_model, small_dataset, tmp_path, monkeypatch):
    dataset, images = small_dataset
    model = pooling_model()
    settings = Evaluation(memory_gib=12 / 2**20, batch=5)
    encoded, scored = [], []
    encode, match = Matcher.encode, type(model.head).match
    monkeypatch.setattr(Matcher, "encode", lambda self, x: encoded.append(len(x)) or encode(self, x))
    monkeypatch.setattr(
        type(model.head), "match", lambda self, q, g: scored.append(len(q) * len(g)) or match(self, q, g)
    )
    counting = CutAt(0)
    evaluate(model, dataset, images, settings, folder=tmp_path, pulse=counting)
    whole = sum(encoded), sum(scored)
    encoded.clear(), scored.clear()
    with pytest.raises(Interrupted):
        evaluate(model, dataset, images, settings, folder=tmp_path, pulse=CutAt(counting.chances // 2))
    evaluate(model, dataset, images, settings, folder=tmp_path)
    assert whole[1] == sum(scored) == 6 * 42
    # The first batch of queries tells how large a representation is, once in each life.
    assert sum(encoded) <= whole[0] + 2 * settings.batch
