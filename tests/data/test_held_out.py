"""Training persons held out: who they are, and the test that is made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.config import HELD_OUT
from bench.data import Dataset, ImageRecord
from bench.data.held_out import held_out_positions, held_out_set
from bench.data.tensors import ChosenImages, JoinedImages, pick
from bench.errors import UserError


def dataset_of(cameras_by_person: list[list[int]], fingerprint: str = "f") -> Dataset:
    records = [
        ImageRecord(Path(f"{person}_{camera}_{at}.jpg"), person, camera)
        for person, cameras in enumerate(cameras_by_person)
        for at, camera in enumerate(cameras)
    ]
    return Dataset("set", Path(), tuple(records), (), (), fingerprint)


TEN = dataset_of([[0, 0, 1, 2, 2]] * 10)


def test_persons_are_on_one_side_only_and_the_same_whenever_asked():
    kept, apart = held_out_positions(TEN, 3)
    persons = [{TEN.train[at].person for at in side} for side in (kept, apart)]
    assert sorted([*kept, *apart]) == list(range(50))
    assert len(persons[1]) == 3 and not persons[0] & persons[1]
    again = held_out_positions(dataset_of([[0, 0, 1, 2, 2]] * 10, "other"), 3)
    assert np.array_equal(kept, again[0]) and np.array_equal(apart, again[1])


def test_the_first_image_of_a_person_in_a_camera_is_a_query_and_all_others_are_the_gallery():
    test, positions = held_out_set(TEN, 3)
    assert test.name == HELD_OUT and not test.train
    assert [*test.query, *test.gallery] == [TEN.train[at] for at in positions]
    assert len(test.query) == 3 * 3 and len(test.gallery) == 3 * 2
    assert len({(record.person, record.camera) for record in test.query}) == 9
    assert {record.path.stem.split("_")[2] for record in test.query} == {"0", "2", "3"}


def test_the_fingerprint_tells_of_the_set_and_of_the_number_of_persons():
    prints = {held_out_set(TEN, 3)[0].fingerprint, held_out_set(TEN, 4)[0].fingerprint}
    prints |= {held_out_set(dataset_of([[0, 0, 1, 2, 2]] * 10, "other"), 3)[0].fingerprint, TEN.fingerprint}
    assert len(prints) == 4


@pytest.mark.parametrize("persons", [1, 9, 10, 11])
def test_two_persons_must_be_left_on_either_side(persons):
    with pytest.raises(UserError, match=rf"training\.held_out_persons={persons}: set has 10 training persons"):
        held_out_positions(TEN, persons)


def test_persons_without_an_image_to_find_make_no_test():
    with pytest.raises(UserError, match="no test can be made of them"):
        held_out_set(dataset_of([[0, 1, 2]] * 10), 3)


def test_chosen_images_are_those_of_the_whole():
    parts = [np.random.default_rng(at).integers(0, 256, (5, 3, 4, 2), np.uint8) for at in range(2)]
    positions = np.array([9, 0, 4, 5])
    chosen = ChosenImages(JoinedImages(tuple(parts)), positions)
    assert len(chosen) == 4
    np.testing.assert_array_equal(pick(chosen, np.array([3, 0])), np.concatenate(parts)[positions[[3, 0]]])
