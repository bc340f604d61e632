"""Decoded images are those of the files on disk, whatever has become of the cache; and of the room that they need."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import ImageRecord, cache
from bench.data.cache import load_images
from bench.data.dataset import Dataset
from bench.errors import UserError
from bench.progress import QUIET, Progress

HEIGHT, WIDTH = 12, 6


def colour(number: int) -> tuple[int, int, int]:
    return 2 * number, 255 - number, 7


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Fifty training images, each of a colour of its own."""
    records = []
    for number in range(50):
        path = tmp_path / f"{number:02}.bmp"
        Image.new("RGB", (8, 16), colour(number)).save(path)
        records.append(ImageRecord(path, number, 0))
    return Dataset("fifty", tmp_path, tuple(records), (), (), "a" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def load(dataset: Dataset, folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Load the images, see that each is right, and return what was said."""

    def call() -> list[str]:
        images = load_images(dataset, "train", HEIGHT, WIDTH, folder, 2, Progress())
        assert images.shape == (50, 3, HEIGHT, WIDTH) and images.dtype == np.uint8
        assert np.array_equal(images, np.broadcast_to(wanted(dataset)[:, :, None, None], images.shape))
        return capsys.readouterr().err.splitlines()

    return call


def wanted(dataset: Dataset) -> np.ndarray:
    """The colours [n, 3] that the image files have now."""
    return np.array([Image.open(record.path).getpixel((0, 0)) for record in dataset.train])


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.npy")
    return path


def save_other(path: Path, images: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, images)


def change_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-HEIGHT * WIDTH * 10] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("<html>"),
    "another shape": lambda path: save_other(path, np.zeros((50, 3, WIDTH, HEIGHT), np.uint8)),
    "another dtype": lambda path: save_other(path, np.zeros((50, 3, HEIGHT, WIDTH), np.int8)),
    "another order": lambda path: save_other(path, np.zeros((50, 3, HEIGHT, WIDTH), np.uint8, order="F")),
    "another content": lambda path: save_other(path, np.zeros((50, 3, HEIGHT, WIDTH), np.uint8)),
    "one byte": change_one_byte,
    "no note": lambda path: path.with_suffix(".json").unlink(),
    "a note that is none": lambda path: path.with_suffix(".json").write_text('{"modified": "never"}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_is_not_what_was_decoded_is_made_anew_with_one_line(load, folder, damage):
    assert load() == []
    damage(the_file(folder))
    (line,) = load()
    assert str(the_file(folder)) in line and "decoded anew" in line
    assert load() == []


def test_another_content_with_the_old_time_is_found_by_the_images_that_are_compared(load, folder):
    load()
    path = the_file(folder)
    before = path.stat()
    save_other(path, np.zeros((50, 3, HEIGHT, WIDTH), np.uint8))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (line,) = load()
    assert "does not hold what" in line


def test_an_image_that_changed_with_the_same_size_is_seen_and_named(load, dataset):
    load()
    changed = dataset.train[33].path
    size = changed.stat().st_size
    Image.new("RGB", (8, 16), (1, 2, 3)).save(changed)
    assert changed.stat().st_size == size
    (line,) = load()
    assert str(changed) in line and "decoded anew" in line
    assert load() == []


def test_copied_files_are_looked_at_once_and_not_decoded_again(load, dataset, folder, monkeypatch):
    load()
    for path in (*(record.path for record in dataset.train), the_file(folder)):
        os.utime(path, (1, 1))
    monkeypatch.setattr(cache, "decode_bytes", None)
    noted = the_file(folder).with_suffix(".json")
    before = json.loads(noted.read_text())
    assert load() == []
    after = json.loads(noted.read_text())
    assert after["modified"] != before["modified"] and after["stamps"] != before["stamps"]
    assert {key: after[key] for key in ("sources", "pixels")} == {key: before[key] for key in ("sources", "pixels")}
    monkeypatch.setattr("bench.data.decoded.DecodedFile.fault", None)
    assert load() == []


def test_an_image_that_is_gone_is_named(dataset, load, folder):
    load()
    dataset.train[20].path.unlink()
    with pytest.raises(UserError, match=r"cannot read the image .*20\.bmp"):
        load()


# Room


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_room_is_reserved_before_anything_is_decoded(load, folder, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    monkeypatch.setattr(cache, "decode_bytes", None)
    with pytest.raises(UserError, match=r"no room .* fifty train .* 0\.0 MB.* are free .*--results"):
        load()
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_a_disk_with_less_room_than_needed_is_not_filled(load, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 99, 99))
    monkeypatch.setattr(os, "posix_fallocate", None)
    with pytest.raises(UserError, match="no room"):
        load()


def test_room_that_goes_while_images_are_decoded_ends_with_the_same_sentence(load, folder, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda handle, content, at: no_room() if at > 5000 else write(handle, content, at)
    )
    with pytest.raises(UserError, match="no room"):
        load()
    monkeypatch.undo()
    assert [path.suffix for path in folder.iterdir()] == [".lock"]
    assert load() == []


def test_a_file_system_that_reserves_nothing_is_good_enough(load, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert load() == []


def test_short_writes_are_finished(load, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, content, at: write(handle, content[:100], at))
    assert load() == []


def test_what_is_wrong_does_not_take_the_room_of_what_replaces_it(load, folder, monkeypatch):
    load()
    path = the_file(folder)
    change_one_byte(path)
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(UserError, match="no room"):
        load()
    assert not path.exists()


# Rights


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_others_may_read_what_the_umask_lets_them(load, folder, umask):
    before = os.umask(umask)
    try:
        load()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o666 & ~umask}


def test_a_cache_that_may_only_be_read_is_used_if_it_is_right(load, folder, monkeypatch):
    load()
    os.utime(the_file(folder), (1, 1))
    monkeypatch.setattr(cache, "turn", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
    assert load() == []
    change_one_byte(the_file(folder))
    with pytest.raises(UserError, match="cannot write the image cache"):
        load()


def test_quiet_means_quiet(dataset, folder, capfd):
    load_images(dataset, "train", HEIGHT, WIDTH, folder, 1, QUIET)
    the_file(folder).write_bytes(b"")
    load_images(dataset, "train", HEIGHT, WIDTH, folder, 1, QUIET)
    assert capfd.readouterr() == ("", "")
