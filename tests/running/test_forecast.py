"""A forecast counts what is left to do, from sets that are at hand or from what is published of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.config import HELD_OUT
from bench.errors import UserError
from bench.perf.tiles import Tiles
from bench.running.forecast import Load, forecast, image_bytes, loads
from bench.running.ledger import MISSING, CellState
from bench.running.set_counts import SetCounts, Sets
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan, resolve

TILES = Tiles(
    batch=64, timed=8, step=2.0, image=0.1, pair=0.001, ranked={5332: 0.01, 15913: 0.02}, training_bytes=100,
    testing_bytes=50, host_bytes=200, state_bytes=1000, momentum_bytes=900, bytes_per_image=4, pair_bytes=8,
)  # fmt: skip


class Book:
    """A ledger that knows of some seeds how far they are."""

    def __init__(self, **states: CellState) -> None:
        self.states = states

    def state_of(self, cell):
        return self.states.get(f"seed{cell.config.seed}", MISSING)


def left_of(rows, book=None, preset=None, states=1, tmp_path=None, **sets):
    cells = plan(load_study("table2"), load_preset(preset), {}, rows, seeds=[0, 1, 2])
    where = Sets(tmp_path, **sets)
    return loads(cells, lambda cell: resolve(cell.config, "cpu", "fp32", 2), where, book or Book(), None, states)


def test_counts_of_absent_sets_are_those_that_are_published(tmp_path):
    sets = Sets(tmp_path)
    assert sets.of("msmt") == SetCounts(32_621, 1_041, 11_659, 82_161, False, 15, "published")
    joined = sets.of_source("cuhk02+market")
    assert (joined.train, joined.persons, joined.known) == (12_936 + 7_264, 751 + 1_816, "published")
    assert (sets.of("viper").queries, sets.of("viper").gallery, sets.of("viper").both_ways) == (632, 632, True)
    held_out = sets.held_out("market", 100)
    assert held_out.queries + held_out.gallery == 100 * (12_936 // 751) and held_out.queries == 600


def test_counts_of_sets_at_hand_are_their_own_and_stand_ins_are_known_before_they_are_written(tiny_data, tmp_path):
    there, not_yet = Sets(tiny_data / "standin-tiny", "tiny"), Sets(tmp_path, "tiny")
    for name in ("market", "msmt", "cuhk03", "msmt_all"):
        found, known = there.of(name), not_yet.of(name)
        assert found.known == "found" and known.known == "stand-in"
        numbers = [(item.train, item.persons, item.queries, item.gallery) for item in (found, known)]
        assert numbers[0] == numbers[1], name
    with pytest.raises(UserError, match="bench data standin --size tiny"):
        not_yet.of("viper")


def test_what_is_finished_is_left_out_and_what_lacks_a_test_is_not_trained(tmp_path):
    book = Book(
        seed0=CellState("done", tests=("cuhk03", "market")),
        seed1=CellState("done", tests=("market",)),
        seed2=CellState("interrupted"),
    )
    [load] = left_of(["cosine"], book, tmp_path=tmp_path)
    assert (load.runs, load.trainings, load.finished) == (2, 1, 1)
    assert load.testings == {"cuhk03": 2, "market": 1}


def test_runs_that_two_rows_share_are_counted_once(tmp_path):
    study = load_study("table2")
    twice = study.model_copy(update={"rows": [*study.rows[:1], study.rows[0].model_copy(update={"label": "again"})]})
    cells = plan(twice, load_preset(None), {}, ["all"], seeds=[0, 1])
    where = Sets(tmp_path)
    first, second = loads(cells, lambda cell: resolve(cell.config, "cpu", "fp32", 2), where, Book(), None, 1)
    assert (first.runs, first.shared) == (2, 0) and (second.runs, second.shared) == (0, 2)
    assert forecast(second, TILES, on_gpu=False).seconds == 0
    assert image_bytes([first, second]) == image_bytes([first])


def test_seconds_are_steps_sampling_and_tests_of_all_runs(tmp_path):
    [load] = left_of(["cosine"], tmp_path=tmp_path, states=2)
    found = forecast(load, TILES, on_gpu=False)
    assert load.steps == 15 * 1041
    assert found.sampling == pytest.approx(15 * (1041 * 0.1 + 1041**2 * 0.001))
    market = (3_368 + 15_913) * 0.1 + 3_368 * 15_913 * 0.001 + 3_368 * 0.02
    assert found.tests["market"] == pytest.approx(market)
    cuhk03 = found.tests["cuhk03"]
    assert found.seconds == pytest.approx(3 * (load.steps * 2.0 + found.sampling) + 6 * (market + cuhk03))
    assert found.projected and found.checkpoint_bytes == 3 * 1000


def test_on_a_gpu_scores_are_the_machines_and_representations_the_cards(tmp_path):
    [load] = left_of(["cosine"], tmp_path=tmp_path)
    tiles = Tiles(**{**vars(TILES), "gpu": 2**30})
    found = forecast(load, tiles, on_gpu=True)
    assert found.device_bytes > tiles.testing_bytes + 15_913 * 4
    assert 200 < found.host_bytes <= 200 + 2 * 2**31


def test_a_row_that_failed_says_so(tmp_path):
    [load] = left_of(["cosine"], tmp_path=tmp_path)
    assert isinstance(load, Load) and forecast(load, Tiles(note="no room"), on_gpu=False).note == "no room"


def test_looks_at_persons_held_out_take_the_time_of_tests_on_them(tmp_path):
    """Before the first step, after each 200, and after the last."""
    asked = {"training": {"held_out_persons": 100, "held_out_every": 200}}
    [cell] = plan(load_study("table2"), load_preset(None), asked, ["cosine"], seeds=[0])
    [load] = loads([cell], lambda cell: resolve(cell.config, "cpu", "fp32", 2), Sets(tmp_path), Book(), None, 1)
    assert load.steps == 15 * 941 and load.looks == 1 + 71
    sizes = {counts.gallery: 0.01 for counts in load.tests.values()}
    told = forecast(load, replace(TILES, ranked=sizes), False)
    assert told.training == pytest.approx(load.steps * 2.0 + told.sampling + 72 * told.tests[HELD_OUT])
