"""Tests within a memory budget: plans, chunks, spilling, interruption; results never depend on them."""

from __future__ import annotations

from types import SimpleNamespace

import apart
import numpy as np
import pytest
import torch

from bench.config import Evaluation
from bench.errors import CellFailed, UserError
from bench.network.matcher import Matcher
from bench.progress import Progress
from bench.testing import memory_budget as budgeting
from bench.testing import ranking, scoring
from bench.testing.evaluator import evaluate
from bench.testing.memory_budget import Work, plan_scoring
from bench.testing.spill import SpilledRepr
from variants._base import Repr
from variants.kernels import plain

PLANS = ("memory", "disk", "nothing")
TIGHT = Evaluation(memory_gib=2.2 / 2**20, batch=5)
"""For `model` and the small data set: several chunks, and a gallery that does not fit."""


@pytest.fixture
def model(pooling_model) -> Matcher:
    return pooling_model(options={"layers": 1})


@pytest.fixture
def settings_of(monkeypatch):
    """Settings under which the small data set is tested by a plan, in several chunks."""

    def settings(keep: str, **changes: object) -> Evaluation:
        if keep == "memory":
            monkeypatch.setattr(budgeting, "QUERY_CHUNK", 2)
        if keep == "nothing":
            monkeypatch.setattr(scoring.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
        return (Evaluation(batch=5) if keep == "memory" else TIGHT).model_copy(update=changes)

    return settings


@pytest.fixture
def encoded(monkeypatch) -> np.ndarray:
    """How many times each of the 48 images was encoded, but for the first call: it shows a representation's size."""
    seen = np.zeros(48, dtype=int)
    encode_batches, first = Matcher.encode_batches, [True]

    def count(self, images, positions, batch, kind="float32"):
        if first:
            assert len(positions) == first.pop()
        else:
            np.add.at(seen, positions, 1)
        return encode_batches(self, images, positions, batch, kind)

    monkeypatch.setattr(Matcher, "encode_batches", count)
    return seen


def interrupt_at(monkeypatch, chunk: int) -> list[int]:
    """Ranking dies at a chunk, once; returns the list of the first queries of the chunks ranked since."""
    ranked: list[int] = []
    rank_chunk, left = ranking.rank_chunk, [chunk]

    def die(data, scores, start, *more):
        if left and len(ranked) == left[0]:
            left.clear()
            raise KeyboardInterrupt
        ranked.append(start)
        return rank_chunk(data, scores, start, *more)

    monkeypatch.setattr(ranking, "rank_chunk", die)
    return ranked


@pytest.mark.parametrize("kib", [2000, 60, 12, 5, 2.2])
def test_a_smaller_budget_changes_no_result(model, small_dataset, kib, tmp_path):
    dataset, images = small_dataset
    whole = evaluate(model, dataset, images, Evaluation())
    for folder in (None, tmp_path):
        tight = evaluate(model, dataset, images, Evaluation(memory_gib=kib / 2**20, batch=5), folder=folder)
        assert tight.first_rank == whole.first_rank
        np.testing.assert_allclose(tight.average_precision, whole.average_precision, atol=1e-6)


@pytest.mark.parametrize(("keep", "times"), [("memory", 1), ("disk", 1), ("nothing", 2)])
def test_an_image_is_encoded_once_where_memory_or_disk_holds_it(
    model, small_dataset, encoded, settings_of, tmp_path, keep, times
):
    evaluate(model, *small_dataset, settings_of(keep), folder=tmp_path)
    assert encoded[6:].tolist() == [times] * 42 and encoded[:6].tolist() == [1] * 6
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_disk_and_encoding_again_give_the_same_bits(model, small_dataset, tmp_path):
    dataset, images = small_dataset
    spilled = evaluate(model, dataset, images, TIGHT, folder=tmp_path)
    again = evaluate(model, dataset, images, TIGHT)
    assert spilled.average_precision == again.average_precision and spilled.first_rank == again.first_rank


@pytest.mark.parametrize("scored_in", ["float32", "bfloat16"])
@pytest.mark.parametrize("keep", PLANS)
def test_an_interrupted_test_goes_on_where_it_was(
    model, small_dataset, monkeypatch, settings_of, tmp_path, keep, scored_in
):
    dataset, images = small_dataset
    halved = {} if keep == "memory" or scored_in == "float32" else {"memory_gib": TIGHT.memory_gib * 0.7}
    settings = settings_of(keep, scoring=scored_in, **halved)
    whole = evaluate(model, dataset, images, settings, folder=tmp_path)
    ranked = interrupt_at(monkeypatch, chunk=1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, dataset, images, settings, folder=tmp_path)
    assert ranked == [0]
    resumed = evaluate(model, dataset, images, settings, folder=tmp_path)
    assert ranked == sorted(set(ranked)) and len(ranked) > 1  # each chunk once
    assert resumed.average_precision == whole.average_precision and resumed.first_rank == whole.first_rank
    assert list(tmp_path.iterdir()) == []


def test_what_another_network_left_behind_is_not_taken_up(model, small_dataset, monkeypatch, tmp_path):
    dataset, images = small_dataset
    interrupt_at(monkeypatch, chunk=1)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, dataset, images, TIGHT, folder=tmp_path)
    with torch.no_grad():
        model.backbone.neck.weight.mul_(-1)
    fresh = evaluate(model, dataset, images, TIGHT)
    assert evaluate(model, dataset, images, TIGHT, folder=tmp_path).average_precision == fresh.average_precision


def test_what_a_killed_process_spilled_is_deleted(model, small_dataset, tmp_path):
    left = tmp_path / "spill-of-a-killed-process"
    left.mkdir()
    (left / "tokens").write_bytes(b"many bytes")
    evaluate(model, *small_dataset, TIGHT, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_spilled_representations_come_back_to_the_bit(tmp_path, dtype):
    images = Repr(a=torch.randn(7, 3, 5).to(dtype), b=torch.randn(7, 2).to(dtype))
    spilled = SpilledRepr(tmp_path, 7, images[:1])
    spilled.write(0, images[:3])
    spilled.write(3, images[3:])
    for start, stop in ((0, 7), (2, 5), (6, 7)):
        found = dict(spilled.read(start, stop).items())
        assert all(torch.equal(found[name], tensor) for name, tensor in images[start:stop].items())
    spilled.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CellFailed, match=r"cannot keep representations in .*file: "):
        SpilledRepr(file, 3, Repr(a=torch.zeros(1, 2)))


@pytest.mark.parametrize("disk", [0, 10**12])
@pytest.mark.parametrize("gallery", [10, 15_913])
def test_plans_stay_within_their_budget(disk, gallery):
    work = Work(3368, gallery, bytes_per_image=200_000, pair_bytes=10_000)
    least = work.least_budget()
    for budget in (least, 10**7, 10**8, 10**9, 10**10):
        plan = plan_scoring(work, budget, free_disk=disk)
        kept = gallery if plan.keep == "memory" else 2 * plan.batch
        used = kept * 200_000 + plan.query_chunk * (200_000 + 4 * gallery) + plan.block_bytes
        assert used <= budget and plan.query_chunk >= 1 and plan.batch >= 1 and plan.block_bytes >= 2 * 10_000
    with pytest.raises(UserError, match=r"budget of .* GiB is too small: the least that works is .* GiB"):
        plan_scoring(work, least - 64, disk)


@pytest.mark.parametrize("work", [Work(5, 7, 10, 10), Work(3368, 15_913, 1_179_648, 9216), Work(9, 2, 10, 10**9)])
def test_the_least_budget_that_is_named_works(work):
    with pytest.raises(UserError) as told:
        plan_scoring(work, work.least_budget() - 64)
    named = float(str(told.value).split("works is ")[1].split(" GiB")[0].replace(",", ""))
    plan_scoring(work, int(named * 2**30))
    assert named * 2**30 < 1.2 * work.least_budget()


@pytest.mark.parametrize(("queries", "gallery"), [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_score_is_told(queries, gallery):
    with pytest.raises(UserError, match=f"nothing to score: there are {queries} query and {gallery} gallery images"):
        plan_scoring(Work(queries, gallery, 10, 10), 10**9)


@pytest.mark.parametrize(
    ("budget", "disk", "keep", "words"),
    [
        (10**8, 0, "memory", "in memory"),
        (10**6, 10**9, "disk", "on disk"),
        (10**6, 10**6, "nothing", "encoded again for each chunk"),
    ],
)
def test_the_gallery_is_kept_where_there_is_room(budget, disk, keep, words):
    plan = plan_scoring(Work(3000, 1000, bytes_per_image=1000, pair_bytes=100), budget, disk)
    assert plan.keep == keep and plan.query_chunk < 3000 and words in str(plan)
    assert plan.trivial == (keep == "memory")


def test_the_plan_is_told_first_with_or_without_a_terminal(model, small_dataset, capfd, tmp_path):
    dataset, images = small_dataset
    evaluate(model, dataset, images, TIGHT, progress=Progress(label="row"), folder=tmp_path)
    line = capfd.readouterr().err
    assert line.startswith("row test small: 6 queries x 42 gallery images within 2.1e-06 GiB: queries in 2 chunks of")
    assert "kept on disk" in line
    evaluate(model, dataset, images, Evaluation(), progress=Progress())
    assert capfd.readouterr().err == ""  # nothing to tell where everything fits


def test_representations_in_bfloat16_take_half(model, small_dataset):
    _, images = small_dataset
    sizes = [model.encode_all(images, np.arange(1), 1, kind).bytes_per_image for kind in ("float32", "bfloat16")]
    assert sizes[0] == 2 * sizes[1]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["cpu", "plain"])
def test_a_block_of_the_full_size_head_fits_its_budget(kernel):
    """The measured peak of the process, where the operator takes blocks of similarities and packed images besides.

    A smaller width is quicker, and a pair's memory does not depend on it.
    """
    code = """
import torch
from bench.testing.blocks import block_shape, score_all
from bench.stopwatch import peak_bytes, reset_peak
from variants import build
from variants._base import Repr
head = build("transmatcher", (128, 24, 8)).eval()
rows, columns = block_shape(head, 3368, 15913, 2**26)
query, gallery = (Repr(levels=torch.rand(count, 3, 192, 128)) for count in (rows, columns // 4))
score_all(head, query[:2], gallery[:2], 2**26)
device = torch.device("cpu")
reset_peak(device)
before = peak_bytes(device)
score_all(head, query, gallery, 2**26)
print(len(query) * len(gallery), peak_bytes(device) - before)
"""
    pairs, held = map(int, apart.code(code, PAIRBENCH_KERNEL=kernel).split())
    assert held <= 2**26 + 3 * plain.BLOCK_BYTES < pairs * 192 * 192 * 4
