"""Images of several sets are picked as if they lay in one array."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.tensors import JoinedImages, pick


def test_joined_images_are_those_of_one_array(tmp_path):
    whole = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 2), dtype=np.uint8)
    for name, part in (("a", whole[:4]), ("b", whole[4:])):
        np.save(tmp_path / f"{name}.npy", part)
    joined = JoinedImages(tuple(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "ab"))
    assert len(joined) == 9
    for positions in ([8, 0, 4, 3, 3], [1], [5, 6], []):
        asked = np.array(positions, np.int64)
        np.testing.assert_array_equal(pick(joined, asked), whole[asked])
    with pytest.raises(IndexError):
        pick(joined, np.array([9]))
