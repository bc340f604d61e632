"""A set that is absent, incomplete or mixed up is refused, with what is wrong and what to do."""

from pathlib import Path

import pytest
import tiny_sets as tiny
from tiny_sets import WRITERS, refusal

from bench.data import NAMES, load_dataset


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_set_says_where_it_belongs_and_how_to_go_on(tmp_path: Path, name: str) -> None:
    for data in (tmp_path, tmp_path / "nowhere"):
        message = refusal(name, data)
        for words in ("absent", str(data), "--data-dir", "BENCH_DATA", "bench data standin --size demo"):
            assert words in message
        assert "bench run --preset demo" in message
    (tmp_path / "standin-demo").mkdir()
    assert "`bench run --preset demo`, whose data are there" in refusal(name, tmp_path)


@pytest.mark.parametrize("name", ["market", "msmt"])
def test_a_data_directory_that_is_the_set_itself_is_noticed(tmp_path: Path, name: str) -> None:
    root = WRITERS[name](tmp_path)
    assert f"--data-dir {tmp_path}" in refusal(name, root)


@pytest.mark.parametrize(
    ("typed", "meant"), [("mraket", "market"), ("CUHK03-labeled", "cuhk03_labeled"), ("MSMT", "msmt")]
)
def test_an_unknown_name_lists_the_valid_ones_and_the_nearest(tmp_path: Path, typed: str, meant: str) -> None:
    message = refusal(typed, tmp_path)
    assert ", ".join(NAMES) in message
    assert f"Did you mean {meant}?" in message


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("market", "query"),
        ("cuhk03", "bounding_box_train"),
        ("msmt", "test"),
        ("msmt_all", "train"),
        ("msmt", "list_val.txt"),
    ],
)
def test_a_half_copied_set_names_the_missing_part(tmp_path: Path, name: str, part: str) -> None:
    root = WRITERS[name](tmp_path)
    (root / part).rename(tmp_path / "elsewhere")
    message = refusal(name, tmp_path)
    assert "incomplete" in message
    assert part in message


@pytest.mark.parametrize(
    ("name", "part"),
    [("market", "query"), ("cuhk03_labeled", "bounding_box_test"), ("msmt", "test"), ("randperson", ".")],
)
def test_an_empty_folder_is_named(tmp_path: Path, name: str, part: str) -> None:
    root = WRITERS[name](tmp_path)
    for path in (root / part).rglob("*.*g"):
        path.unlink()
    assert f"{root / part} holds no images" in refusal(name, tmp_path)


def test_a_whole_copy_is_taken_before_a_half_one(tmp_path: Path) -> None:
    (tmp_path / "market" / "query").mkdir(parents=True)
    market = tiny.write_folders(tmp_path / "market1501", tiny.MARKET)
    assert load_dataset("market", tmp_path).root == market
    (tmp_path / "MSMT17_V1" / "train").mkdir(parents=True)
    msmt = tiny.write_msmt(tmp_path / "msmt", "V1")
    assert load_dataset("msmt", tmp_path).root == msmt


def test_a_name_of_another_set_is_given_with_its_path(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    stray = tiny.write_image(root / "bounding_box_test" / "0000_000_01_0303morning_0008_0.jpg")
    message = refusal("market", tmp_path)
    assert str(stray) in message
    assert "looks like MSMT17" in message


@pytest.mark.parametrize(("name", "stray"), [("market", "0001_c3s1_001051_00.jpg"), ("cuhk03", "0002_c1_9.png")])
def test_persons_in_both_training_and_test_are_named(tmp_path: Path, name: str, stray: str) -> None:
    root = WRITERS[name](tmp_path)
    tiny.write_image(root / "bounding_box_train" / stray)
    message = refusal(name, tmp_path)
    assert "1 persons are both in training and in test" in message
    assert f"for example {int(stray[:4])}" in message


def test_queries_whose_matches_all_have_their_own_camera_are_explained(tmp_path: Path) -> None:
    gallery = ["0001_c1s1_001060_01.jpg", "0005_c2s1_001061_01.jpg"]
    tiny.write_folders(tmp_path / "market", tiny.MARKET | {"bounding_box_test": gallery})
    message = refusal("market", tmp_path)
    assert "every match has the query's own camera" in message
    assert "query/0001_c1s1_001051_00.jpg" in message
    assert "bounding_box_test/0001_c1s1_001060_01.jpg" in message


def test_queries_of_persons_that_the_gallery_lacks_are_explained(tmp_path: Path) -> None:
    tiny.write_folders(tmp_path / "market", tiny.MARKET | {"bounding_box_test": ["0099_c1s1_001060_01.jpg"]})
    assert "no query's person is in the gallery" in refusal("market", tmp_path)


def test_images_that_are_there_twice_are_named(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    tiny.write_image(root / "query" / "0001_c1s1_001051_00.png")
    assert "query/0001_c1s1_001051_00" in refusal("market", tmp_path)


def test_an_image_in_two_msmt_lists_is_named(tmp_path: Path) -> None:
    train = tiny.MSMT_LISTS["list_train.txt"]
    tiny.write_msmt(tmp_path / "msmt", lists=tiny.MSMT_LISTS | {"list_val.txt": train[:1]})
    message = refusal("msmt", tmp_path)
    assert "there twice" in message
    assert "0000_000_01_0303morning_0008_0" in message


def test_a_split_of_junk_alone_is_empty(tmp_path: Path) -> None:
    tiny.write_folders(tmp_path / "market", tiny.MARKET | {"query": ["-1_c1s1_000401_03.jpg"]})
    assert "no usable image for query" in refusal("market", tmp_path)
    tiny.write_msmt(tmp_path / "msmt", lists=tiny.MSMT_LISTS | {"list_gallery.txt": []})
    assert "no usable image for gallery" in refusal("msmt", tmp_path)


def test_images_without_bytes_and_links_to_nothing_are_named(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    hollow = root / "query" / "0001_c1s1_001051_00.jpg"
    hollow.write_bytes(b"")
    assert f"1 images have 0 bytes, first {hollow}" in refusal("market", tmp_path)
    hollow.unlink()
    hollow.symlink_to(tmp_path / "gone.jpg")
    assert f"1 images are folders or links to nothing, first {hollow}" in refusal("market", tmp_path)
