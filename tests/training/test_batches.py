"""Batches are the same whether made ahead or when asked for; a thread that makes them leaves nothing behind."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest
import torch

from bench.config import Augmentation
from bench.data.ahead import ahead
from bench.data.tensors import as_float
from bench.training.batches import Batches


@pytest.fixture
def batches(few_persons) -> Batches:
    return Batches(*few_persons, Augmentation(pad=2), 3, torch.device("cpu"))


def test_an_epoch_goes_on_behind_the_batches_that_are_done(batches):
    order = np.random.default_rng(0).permutation(48).reshape(6, 8)
    with contextlib.closing(batches.of_epoch(1, order, done=4)) as made:
        found = list(made)
    assert len(found) == 2
    for step, batch in zip((4, 5), found, strict=True):
        expected = batches.make(1, step * 8, order[step])
        assert torch.equal(batch.images, expected.images) and torch.equal(batch.ids, expected.ids)


def test_a_batch_is_of_the_images_asked_for_and_their_persons(few_persons):
    images, ids = few_persons
    plain = Batches(images, ids, Augmentation(enabled=False), 0, torch.device("cpu"))
    batch = plain.make(0, 0, np.array([9, 0, 47]))
    assert torch.equal(batch.images, as_float(torch.from_numpy(images[[9, 0, 47]])))
    assert batch.ids.tolist() == ids[[9, 0, 47]].tolist()


def test_a_cpu_keeps_no_images_of_its_own(batches):
    batches.keep_on_device()
    assert batches.resident_bytes == 0


@pytest.mark.parametrize("most", [0, 1, 3, 20])
def test_what_is_made_ahead_comes_in_order(most):
    with contextlib.closing(ahead(lambda place: place**2, range(9), most)) as made:
        assert list(made) == [place**2 for place in range(9)]


def test_no_more_is_made_ahead_than_said():
    asked: list[int] = []
    with contextlib.closing(ahead(lambda place: asked.append(place) or place, range(100), 2)) as made:
        assert next(made) == 0
    assert len(asked) <= 3


def test_a_fault_of_the_thread_is_raised_where_its_batch_is_asked_for():
    def make(place: int) -> int:
        if place == 2:
            raise OSError("the disk is gone")
        return place

    with contextlib.closing(ahead(make, range(9), 3)) as made:
        assert [next(made), next(made)] == [0, 1]
        with pytest.raises(OSError, match="the disk is gone"):
            next(made)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_the_thread_has_ended_once_the_batches_are_closed():
    going_on, begun = threading.Event(), threading.Event()

    def make(place: int) -> int:
        begun.set()
        going_on.wait(5)
        return place

    made = ahead(make, range(9), 2)
    first = threading.Thread(target=lambda: next(made))
    first.start()
    assert begun.wait(5)
    going_on.set()
    first.join()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
