"""Sources of several sets: one name whatever the order, persons and cameras apart, no test person trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data import Dataset, ImageRecord
from bench.data.sources import canonical, check_apart, join, parts_of
from bench.errors import UserError


def made_up(name: str, people: list[tuple[int, int]], standin: str | None = None) -> Dataset:
    records = tuple(ImageRecord(Path(f"{name}-{n}.jpg"), *place) for n, place in enumerate(people))
    return Dataset(name, Path("data") / name, records, (), (), f"{name}-fingerprint", standin)


def test_the_order_of_the_sets_means_nothing():
    assert canonical("msmt+market") == canonical(" market + msmt ") == "market+msmt"
    assert canonical("market") == "market"


@pytest.mark.parametrize("source", ["msmt+msmt_all", "cuhk03+cuhk03_labeled"])
def test_sets_that_show_the_same_persons_are_refused(source):
    with pytest.raises(UserError, match="show the same persons; train on one of them"):
        parts_of(source)


def test_an_unknown_set_of_a_source_is_named():
    with pytest.raises(UserError, match=r"no data set 'markt'.*Did you mean market"):
        parts_of("msmt+markt")


def test_what_is_trained_on_with_all_images_is_not_tested_on():
    check_apart("msmt", ("msmt", "market"))
    with pytest.raises(UserError, match="msmt_all trains on the test persons of msmt"):
        check_apart("market+msmt_all", ("msmt",))


def test_persons_and_cameras_of_different_sets_are_kept_apart():
    joined = join([made_up("a", [(3, 0), (3, 1), (5, 5)]), made_up("b", [(0, 0), (3, 2)])])
    assert [(record.person, record.camera) for record in joined.train] == [(3, 0), (3, 1), (5, 5), (6, 6), (9, 8)]
    assert joined.name == "a+b" and [part.name for part in joined.parts] == ["a", "b"]
    assert not joined.query and not joined.gallery


def test_the_fingerprint_follows_those_of_the_sets():
    first, second = made_up("a", [(0, 0)]), made_up("b", [(0, 0)])
    assert join([first, second]).fingerprint != join([first, made_up("c", [(0, 0)])]).fingerprint


def test_real_and_generated_sets_are_not_mixed():
    with pytest.raises(UserError, match=r"different making.*b \(stand-in data\)"):
        join([made_up("a", [(0, 0)]), made_up("b", [(0, 0)], "stand-in data")])
