"""Pictures of drawn things, from which backbones learn first: each its number's own, and of nothing that tests show."""

from __future__ import annotations

import numpy as np

from bench.data.standin import objects
from bench.data.standin.cameras import camera_of
from bench.data.standin.domains import DOMAINS


def test_a_picture_depends_on_its_numbers_alone():
    first = objects.pictures([3, 7, 3], 10, 32, 16)
    assert first.shape == (3, 3, 32, 16) and first.dtype == np.uint8
    objects.kind_of.cache_clear()
    objects._camera.cache_clear()
    again = np.stack([objects.picture(kind, number, 32, 16) for kind, number in ((3, 12), (7, 11), (3, 10))])[::-1]
    assert (first == again).all() and (first[0] != first[2]).any()


def test_kinds_of_a_family_share_their_shapes_and_differ_in_material():
    for family in range(1, 4):
        kinds = [objects.kind_of(objects.FAMILY * family + member) for member in range(objects.FAMILY)]
        assert len({tuple(part.outline for part in kind.parts) for kind in kinds}) == 1
        assert len({tuple(part.material for part in kind.parts) for kind in kinds}) == objects.FAMILY


def test_things_have_a_stream_of_their_own():
    assert objects._WORLD not in {domain.key for domain in DOMAINS.values()}


def test_no_camera_and_no_scene_of_the_stand_in_sets_shows_a_thing():
    mine = [objects._camera(index)[0] for index in range(objects.CAMERAS)]
    for domain in DOMAINS.values():
        for other in (camera_of(0, domain.name, index) for index in range(min(domain.cameras, 4))):
            assert not any((camera.surroundings == other.surroundings).all() for camera in mine)
            assert not any((camera.curves == other.curves).all() for camera in mine)


def test_no_person_is_drawn_for_a_thing(monkeypatch):
    def refuse(*_):
        raise AssertionError("a person was drawn")

    monkeypatch.setattr("bench.data.standin.cameras.sample_person", refuse)
    monkeypatch.setattr("bench.data.standin.cameras.part_map", refuse)
    objects.pictures(range(20), 1000, 32, 16)
