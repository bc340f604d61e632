"""How a run's tests take their products holds wherever its network scores images."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from networks import fresh

from bench.api import TrainedMatcher
from bench.testing import blocks
from bench.testing.different_persons import scores_of_different_persons
from bench.testing.example_pairs import example_pairs


@pytest.fixture
def products(monkeypatch) -> list[str]:
    """The kinds of products that a GPU would have been told."""
    told: list[str] = []
    monkeypatch.setattr(blocks, "float32_products", lambda kind: nullcontext(told.append(kind)))
    return told


@pytest.fixture(params=["tf32x3", "float32"])
def config(request, tiny_config):
    return tiny_config("transmatcher", evaluation={"scoring": request.param})


@pytest.fixture
def matcher(config) -> TrainedMatcher:
    return TrainedMatcher(fresh(config).eval(), SimpleNamespace(config=config))


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 64, 32, 3), dtype=np.uint8)


def holds(told: list[str], config) -> bool:
    """Whether something was scored, and as the run's tests score."""
    return bool(told) if config.evaluation.scoring == "tf32x3" else not told


def test_in_a_program(matcher, config, products):
    matcher.match(pictures(2), pictures(3))
    assert holds(products, config)


@pytest.mark.parametrize("shortlist", [None, 2])
def test_in_a_search(matcher, config, products, shortlist):
    query, gallery = pictures(2), pictures(4)
    short = {} if shortlist is None else {"shortlist": shortlist, "by": matcher}
    matcher.search(query, gallery, top=2, **short)
    assert holds(products, config) and len(products) in (0, 1 if shortlist is None else 3)


def test_in_what_a_threshold_is_taken_from(config, products, small_dataset):
    scores_of_different_persons(fresh(config), *small_dataset, config, 4, seed=0)
    assert holds(products, config)


def test_in_the_choice_of_pairs_to_show(config, products, small_dataset):
    found = example_pairs(fresh(config), *small_dataset, config, 2, seed=0)
    assert holds(products, config) and len(found.query) == 2


@torch.no_grad()
def test_pairs_to_show_are_chosen_from_what_the_run_keeps(tiny_config, small_dataset, monkeypatch):
    kept = []
    model = fresh(tiny_config("transmatcher", evaluation={"scoring": "bfloat16"}))
    match = model.head.match
    monkeypatch.setattr(model.head, "match", lambda *both: kept.append(both[0].levels.dtype) or match(*both))
    example_pairs(model, *small_dataset, tiny_config("transmatcher", evaluation={"scoring": "bfloat16"}), 2, seed=0)
    assert set(kept) == {torch.bfloat16}
