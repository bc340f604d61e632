"""Decoded images are kept once, whole, and tied to the data they came from."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from bench.data import ImageRecord, load_dataset
from bench.data.cache import load_images
from bench.data.dataset import Dataset
from bench.data.images import decode
from bench.errors import UserError
from bench.network.matcher import Matcher
from bench.progress import QUIET
from bench.training.trainer import Trainer


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    records = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (10 + number, 30), (number * 10, 20, 30)).save(path)
        records.append(ImageRecord(path, number, 0))
    return Dataset("five", tmp_path, tuple(records[:2]), (records[2],), tuple(records[3:]), "a" * 64)


def load(dataset, cache, split="test", workers=1):
    return load_images(dataset, split, 12, 6, cache, workers, QUIET)


def test_images_come_in_the_order_of_query_then_gallery(dataset, tmp_path):
    images = load(dataset, tmp_path / "cache")
    assert images.shape == (3, 3, 12, 6) and images.dtype == np.uint8
    assert images[:, 0, 0, 0].tolist() == [20, 30, 40]


def test_the_number_of_workers_changes_nothing(dataset, tmp_path):
    assert np.array_equal(load(dataset, tmp_path / "a"), load(dataset, tmp_path / "b", workers=4))


def test_nothing_is_decoded_twice(dataset, tmp_path, monkeypatch):
    first = np.array(load(dataset, tmp_path / "cache"))
    monkeypatch.setattr("bench.data.cache.decode_bytes", None)
    assert np.array_equal(load(dataset, tmp_path / "cache"), first)


def test_no_image_file_is_read_once_they_are_cached(tiny_data, tiny_config, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    dataset = load_dataset("msmt", tmp_path / "data" / "standin-tiny")
    config = tiny_config(training={"epochs": 2})
    size = config.input
    images = load_images(dataset, "train", size.height, size.width, tmp_path / "cache", 1, QUIET)
    shutil.rmtree(tmp_path / "data")
    ids = np.array([record.person for record in dataset.train])
    model = Matcher(config, config.head, None)
    done = Trainer(model, config, images, ids, tmp_path).run()
    assert done.steps == 2 * len(np.unique(ids)) and np.isfinite(model.head.norm.running_mean.item())


def test_other_data_never_meets_an_old_file(dataset, tmp_path):
    load(dataset, tmp_path / "cache")
    changed = dataclasses.replace(dataset, fingerprint="b" * 64, query=dataset.train[:1])
    assert load(changed, tmp_path / "cache")[0, 0, 0, 0] == 0


def test_an_unreadable_image_is_named_and_leaves_nothing_behind(dataset, tmp_path):
    dataset.gallery[1].path.write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"cannot read the image .*4\.png"):
        load(dataset, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_truncated_image_is_named(tmp_path):
    path = tmp_path / "half.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UserError, match=r"half\.jpg"):
        decode(path, 8, 8)


def test_a_cache_that_cannot_be_written_says_so(dataset, tmp_path):
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(UserError, match="cannot write the image cache"):
        load(dataset, tmp_path / "cache")
