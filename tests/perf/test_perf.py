"""`bench perf`: what is timed is what is said, limits and memory are measured, tables tell all of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from bench.cli import main
from bench.errors import UserError
from bench.perf import around, measure
from bench.perf.measure import interleave, products_run
from bench.perf.peak import extra_bytes
from bench.perf.peers import PEERS, shared_work
from bench.perf.records import Comparison, Timing, read_perf
from bench.perf.run import compare, subjects_of
from bench.perf.streaming import StreamingCase
from bench.perf.works import OPERATOR, TASKS, Work, fitting_batch, head_of, prepare, products_of, sizes_of
from bench.report.speed import speed_tables
from variants import HeadError, names
from variants._base import Product

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("few_to_score")
SMALL = {"batch": 6, "tokens": 12, "width": 16, "feedforward": 24, "layers": 2, "device": "cpu"}


def work(subject: str = OPERATOR, task: str = "forward", dtype: str = "float32", **changes) -> Work:
    return Work(subject=subject, task=task, dtype=dtype, **{**SMALL, **changes})


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("subject", [OPERATOR, *names()])
def test_the_suites_form_and_the_plain_one_do_the_same_work(subject, task):
    found = []
    for form in ("ours", "plain"):
        run, leaves = prepare(replace(work(subject, task), form=form))
        scores = run()
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        assert bool(gradients) == (task == "forward+backward")
        found.append([scores, *gradients])
    assert found[0][0].shape[:2] == sizes_of(work(subject, task))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("subject", [OPERATOR, *names()])
def test_mixed_precision_is_near_float32(subject):
    exact, mixed = (prepare(work(subject, "scoring", dtype))[0]().float() for dtype in ("float32", "bfloat16"))
    kept_exact = subject != OPERATOR and head_of(work(subject)).exact_representations
    assert kept_exact or not torch.equal(exact, mixed)
    assert (exact - mixed).std() < 0.1 * exact.std()


def test_the_limit_does_the_products_of_forward_and_backward_once(monkeypatch):
    done = []
    monkeypatch.setattr(torch, "mm", lambda left, right, out: done.append((*left.shape, right.shape[1])))
    products = [Product(4, 3, 2, times=2), Product(7, 5, 6, forward_only=True)]
    products_run(products, False, torch.float32, CPU)()
    assert done == [(4, 3, 2), (4, 3, 2), (7, 5, 6)]
    done.clear()
    monkeypatch.setattr(measure, "LARGEST_OUTPUT", 6)
    products_run(products, True, torch.float32, CPU)()
    assert max(rows * columns for rows, _, columns in done) <= 6
    assert sum(2 * rows * inner * columns for rows, inner, columns in done) == sum(p.flop(True) for p in products)


def test_a_batch_with_itself_needs_half_of_the_similarities():
    training, scoring = (products_of(work(task=task))[0] for task in ("forward+backward", "scoring"))
    queries, gallery = sizes_of(work(task="scoring"))
    assert scoring.flop() == 2 * queries * gallery * 12 * 12 * 16
    assert training.flop(backward=True) == 2 * (6 * 7 // 2) * 12 * 12 * 16


def test_repeats_are_interleaved_and_end_when_patience_does():
    calls = []
    runs = {name: (lambda name=name: calls.append(name)) for name in ("a", "b")}
    seconds = interleave(runs, 4, CPU)
    assert calls == ["a", "b"] * 5 and all(len(found) == 4 for found in seconds.values())
    assert len(interleave(runs, 9, CPU, patience=0)["a"]) == 3


@pytest.mark.slow
def test_memory_is_what_the_plain_form_holds_at_once():
    sizes = {"batch": 24, "tokens": 64, "width": 8}
    similarities = 24 * 24 * 64 * 64 * 4
    plain = extra_bytes(replace(work(**sizes), form="plain"), 2**32)
    assert 2 * similarities < plain < 3 * similarities
    assert extra_bytes(work(**sizes), 2**32) < similarities


def test_what_does_not_fit_is_said_and_the_rest_is_measured():
    found = compare(work(batch=64, tokens=64, task="scoring"), repeats=1, memory=2**26)
    assert found.timing("plain").note == "does not fit in memory" and not found.timing("plain").seconds
    assert found.median("ours") > 0 and found.median("limit") > 0


def test_heads_that_pay_per_pair_get_the_largest_batch_that_fits():
    head = head_of(work("transformer_cat"))
    assert fitting_batch(head, 64, 4 * 16 * 16 * head.pair_bytes(training=True)) == 16
    assert fitting_batch(head, 64, 10**15) == 64 and fitting_batch(head, 64, 0) == 1


def test_a_head_without_declared_products_has_no_limit(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from variants._base import Head, Repr\n\n\nclass Mine(Head):\n"
        "    def encode(self, feature_map):\n        return Repr(feature=feature_map.mean((2, 3)))\n\n"
        "    def match(self, query, gallery):\n        return query.feature @ gallery.feature.T\n\n"
        "    def pair_bytes(self, training=False):\n        return 8\n"
    )
    found = compare(work(str(path), "forward"), repeats=1, memory=2**30)
    assert found.timing("limit") is None and found.flop is None and found.median("plain") > 0


def test_packages_for_text_retrieval_are_timed_on_the_shared_work(monkeypatch):
    """Stand-ins that do MaxSim by the book: the numbers are the operator's, in both directions."""

    def by_the_book(query, gallery, **options):
        return torch.einsum("qtd,gsd->qgts", query, gallery).amax(dim=3).sum(dim=2)

    module, score, train, _ = PEERS["flash-maxsim"]
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{score: by_the_book, train: by_the_book}))
    monkeypatch.setitem(sys.modules, PEERS["late-interaction-kernels"][0], None)
    for task in ("scoring", "forward+backward"):
        runs, missing = shared_work(work(task=task))
        torch.testing.assert_close(runs["ours"](), runs["flash-maxsim"]())
        assert list(missing) == ["late-interaction-kernels"] and "pip install" in missing["late-interaction-kernels"]


def test_unknown_subjects_are_refused():
    with pytest.raises(HeadError, match="transmatcher"):
        subjects_of(["transmacher"])


def perf(tmp_path, *arguments: str) -> int:
    sizes = {"batch": 4, "tokens": 6, "width": 8, "feedforward": 8, "layers": 1, "repeats": 2, "threads": 1}
    small = [f"--{name}={value}" for name, value in sizes.items()]
    return main(["perf", "--results", str(tmp_path), "--only=matching", *small, *arguments])


@pytest.mark.slow
def test_the_command_prints_and_stores_a_table_that_the_report_shows(tmp_path, capsys):
    assert perf(tmp_path, "--variants", "operator,cosine", "--dtype", "float32") == 0
    printed = capsys.readouterr().out
    assert "Speed; matching; B=4, T=6, d=8, D=8, N=1" in printed and "±" not in printed
    (record,) = read_perf(tmp_path)
    assert [(item.subject, item.task) for item in record.comparisons] == [
        (subject, task) for subject in ("operator", "cosine") for task in TASKS
    ]
    assert record.provenance.kernel in ("compiled", "plain") and record.threads == 1
    assert main(["report", "--results", str(tmp_path)]) == 0
    assert "Speed; matching" in capsys.readouterr().out
    assert "## Speed" in (tmp_path / "report" / "report.md").read_text()
    assert perf(tmp_path, "--variants", "operator,cosine", "--dtype", "float32") == 0
    assert len(list(read_perf(tmp_path))) == 1, "the same measurement is replaced"


@pytest.mark.slow
def test_the_data_path_and_the_metrics_are_held_against_plain_ones(tmp_path, capsys):
    assert perf(tmp_path, "--only", "around") == 0
    (record,) = read_perf(tmp_path)
    assert [item.subject for item in record.comparisons] == ["data path, one core", "metrics"]
    for item in record.comparisons:
        assert item.median("ours") > 0 and item.median("plain") > 0
    assert "images" in capsys.readouterr().out


def test_tests_with_made_up_features_are_told_with_rate_memory_and_plan(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(around, "StreamingCase", partial(StreamingCase, queries=60, gallery=500))
    monkeypatch.setattr(around, "streaming_cases", lambda *_: [])
    assert perf(tmp_path, "--only", "streaming", "--variants", "cosine") == 0
    (record,) = read_perf(tmp_path)
    assert [item.gallery for item in record.streaming] == [500, 50]
    assert all(len(item.rates) == 2 and item.peak_bytes > item.growth_bytes for item in record.streaming)
    printed = capsys.readouterr().out
    assert "cosine, MSMT17's size" in printed and "kept in memory" in printed


def test_tenfold_cases_have_a_tenth_of_what_their_representations_take():
    on_disk, again = around.streaming_cases("transmatcher", threads=1)
    per_image = 4 * 3 * 4 * 512
    assert on_disk.budget == per_image * (on_disk.queries + on_disk.gallery) // 10
    assert on_disk.spill and not again.spill and again.budget == on_disk.budget


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--variants", "cosin"], "cosine"),
        (["--dtype", "float31"], "float32"),
        (["--only", "matchin"], "matching"),
        (["--device", "cuda:77"], "--device cpu"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path, capsys, arguments, said):
    assert perf(tmp_path, *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_damaged_speed_record_is_named(tmp_path):
    (tmp_path / "perf").mkdir()
    (tmp_path / "perf" / "mine.json").write_text("{}")
    with pytest.raises(UserError, match=r"mine\.json.*bench perf"):
        list(read_perf(tmp_path))


def test_ratios_spread_and_shares_are_those_of_the_timings(tmp_path):
    perf(tmp_path, "--variants", "operator", "--dtype", "float32")
    (record,) = read_perf(tmp_path)
    timings = [
        Timing(form="ours", seconds=[1.0, 2.0, 4.0], extra_bytes=2**20),
        Timing(form="plain", seconds=[8.0], extra_bytes=4 * 2**20),
        Timing(form="limit", seconds=[1.0]),
    ]
    item = Comparison(
        subject="x",
        task="forward",
        dtype="float32",
        size="2 x 3",
        units=6,
        unit="pair",
        flop=4 * 10**9,
        timings=timings,
    )
    (table,) = speed_tables([record.model_copy(update={"comparisons": [item]})])
    entries = dict(zip((column.full for column in table.columns), (text.body for text in table.rows[0]), strict=True))
    assert entries["time ours"] == "2 s (75%)" and entries["ratio plain/ours"] == "4.0"
    assert entries["ratio ours/limit"] == "2.00" and entries["pairs/s ours"] == "3"
    assert entries["GFLOP/s ours"] == "2" and entries["GFLOP/s limit"] == "4"
    assert entries["memory (MiB) % of plain"] == "25"
