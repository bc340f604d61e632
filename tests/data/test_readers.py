"""The data sets are read right in every layout that circulates."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
import tiny_sets as tiny
from hypothesis import given
from hypothesis import strategies as st
from tiny_sets import WRITERS, refusal

from bench.data import NAMES, ImageRecord, describe, load_dataset
from bench.data import filenames as forms
from bench.data.fingerprint import fingerprint


def facts(records: Iterable[ImageRecord]) -> list[tuple[str, int, int]]:
    return [(record.path.name, record.person, record.camera) for record in records]


# Market-1501


@pytest.mark.parametrize(
    "folder",
    [
        "market",
        "market1501",
        "Market-1501-v15.09.15",
        "market1501/Market-1501-v15.09.15",
        "Market1501",
        "MARKET-1501",
    ],
)
def test_market_is_found_under_every_usual_folder_name(tmp_path: Path, folder: str) -> None:
    root = tiny.write_folders(tmp_path / folder, tiny.MARKET)
    dataset = load_dataset("market", tmp_path)
    assert dataset.root == root
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (3, 2, 3)


def test_market_drops_junk_and_keeps_distractors_in_the_gallery_only(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    for folder in ("bounding_box_train", "query"):
        tiny.write_image(root / folder / "0000_c1s1_000001_01.jpg")
        tiny.write_image(root / folder / "-1_c1s1_000001_01.jpg")
    dataset = load_dataset("market", str(tmp_path))
    assert facts(dataset.train) == [
        ("0002_c1s1_000451_03.jpg", 2, 0),
        ("0002_c6s1_000551_01.jpg", 2, 5),
        ("0007_c3s3_077419_03.jpg", 7, 2),
    ]
    assert [record.person for record in dataset.query] == [1, 5]
    assert facts(dataset.gallery) == [
        ("0000_c4s1_000402_02.jpg", 0, 3),
        ("0001_c2s1_001053_01.jpg", 1, 1),
        ("0005_c5s2_001054_01.jpg.jpg", 5, 4),
    ]


def test_what_is_no_image_is_ignored(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    before = load_dataset("market", tmp_path)
    for clutter in ("query/Thumbs.db", "query/._0001_c1s1_001051_00.jpg", "query/readme.txt"):
        (root / clutter).write_bytes(b"x")
    tiny.write_image(root / "query" / "__MACOSX" / "anything.jpg")
    tiny.write_image(root / "query" / "thumbnails" / "0001_c1s1_001051_00.jpg")
    assert load_dataset("market", tmp_path) == before


def test_folder_names_are_never_taken_for_persons_or_cameras(tmp_path: Path) -> None:
    data = tmp_path / "0009_c5s1_000001_00_run_12_c3" / "s07_c09"
    for write in WRITERS.values():
        write(data)
    assert {record.camera for record in load_dataset("market", data).train} == {0, 2, 5}
    assert {record.camera for record in load_dataset("cuhk03", data).train} == {0, 1}
    assert {record.camera for record in load_dataset("msmt", data).train} == {0, 4, 14}
    assert {record.camera for record in load_dataset("randperson", data).train} == {0, 8, 18}


# CUHK03


@pytest.mark.parametrize("boxes", ["detected", "labeled"])
@pytest.mark.parametrize("style", ["cuhk03-np/{}", "cuhk03_np_{}", "CUHK03-NP/{}", "cuhk03/{}"])
def test_cuhk03_np_is_found_in_both_folder_styles(tmp_path: Path, boxes: str, style: str) -> None:
    name, other = ("cuhk03", "cuhk03_labeled") if boxes == "detected" else ("cuhk03_labeled", "cuhk03")
    root = tiny.write_folders(tmp_path / style.format(boxes), tiny.CUHK03)
    dataset = load_dataset(name, tmp_path)
    assert dataset.root == root
    assert facts(dataset.train) == [("0001_c1_1.png", 1, 0), ("0001_c2_6.png", 1, 1), ("0004_c1_2.png", 4, 0)]
    assert facts(dataset.query) == [("0002_c1_1.png", 2, 0), ("0003_c2_7.png", 3, 1)]
    assert len(dataset.gallery) == 3
    assert "absent" in refusal(other, tmp_path)


@pytest.mark.parametrize(("name", "boxes"), [("cuhk03", "detected"), ("cuhk03_labeled", "labeled")])
def test_torchreids_cuhk03_takes_persons_from_the_names_not_from_the_labels(
    tmp_path: Path, name: str, boxes: str
) -> None:
    tiny.write_torchreid_cuhk03(tmp_path / "cuhk03", boxes)
    dataset = load_dataset(name, tmp_path)
    # The splits file gives person 1 to a training and to a query image: there it is a label, here a person.
    assert facts(dataset.train) == [
        ("1_001_1_01.png", 1001, 0),
        ("1_001_2_06.png", 1001, 1),
        ("2_001_1_01.png", 2001, 0),
    ]
    assert facts(dataset.query) == [("1_002_1_01.png", 1002, 0)]
    assert facts(dataset.gallery) == [("1_002_2_06.png", 1002, 1), ("1_003_1_01.png", 1003, 0)]
    assert all(record.path.is_file() for record in dataset.train)


def test_torchreids_cuhk03_has_one_fingerprint_on_all_machines(tmp_path: Path) -> None:
    tiny.write_torchreid_cuhk03(tmp_path / "linux" / "cuhk03", written_in="/home/me/cuhk03")
    tiny.write_torchreid_cuhk03(tmp_path / "windows" / "cuhk03", written_in="C:\\reid\\cuhk03")
    assert (
        load_dataset("cuhk03", tmp_path / "linux").fingerprint
        == load_dataset("cuhk03", tmp_path / "windows").fingerprint
    )


@pytest.mark.parametrize("raw", ["cuhk-03.mat", "cuhk03_release/cuhk-03.mat", "images_detected/1_001_1_01.png"])
def test_unconverted_cuhk03_is_refused_with_the_conversion(tmp_path: Path, raw: str) -> None:
    tiny.write_image(tmp_path / "cuhk03" / raw)
    message = refusal("cuhk03", tmp_path)
    assert f"CUHK03(root={str(tmp_path)!r})" in message
    assert str(tmp_path / "cuhk03-np" / "detected") in message
    assert "cuhk03_new_protocol_config_detected.mat" in message


def test_a_foreign_splits_file_is_refused(tmp_path: Path) -> None:
    root = tiny.write_torchreid_cuhk03(tmp_path / "cuhk03")
    for content in ("{}", "[]", "[[]]", "not json", '[{"train": [["only a path"]]}]', '[{"train": 3}]'):
        (root / "splits_new_detected.json").write_text(content)
        assert "splits_new_detected.json is not torchreid's" in refusal("cuhk03", tmp_path)


# MSMT17


@pytest.mark.parametrize("release", ["V1", "V2"])
@pytest.mark.parametrize("folder", ["MSMT17_V1", "MSMT17_V2", "msmt", "msmt17", "MSMT17", "msmt17/MSMT17_V1"])
def test_msmt_release_is_told_by_its_image_folders(tmp_path: Path, folder: str, release: str) -> None:
    root = tiny.write_msmt(tmp_path / folder, release)
    dataset = load_dataset("msmt", tmp_path)
    assert (dataset.root, dataset.release) == (root, release)
    assert load_dataset("msmt", tmp_path, msmt_release=release) == dataset


def test_msmt_trains_on_train_and_val_and_shifts_the_test_persons(tmp_path: Path) -> None:
    WRITERS["msmt"](tmp_path)
    dataset = load_dataset("msmt", tmp_path)
    assert facts(dataset.train) == [
        ("0000_000_01_0303morning_0008_0.jpg", 0, 0),
        ("0000_002_05_0303afternoon_0009_0.jpg", 0, 4),
        ("0001_001_15_0303noon_0011_1_ex.jpg", 1, 14),
    ]
    assert [record.person for record in dataset.query] == [2, 4]
    assert [record.person for record in dataset.gallery] == [2, 3, 4]
    assert all(record.path.is_file() for record in (*dataset.train, *dataset.query, *dataset.gallery))


def test_msmt_all_trains_on_every_image_and_merges_no_two_persons(tmp_path: Path) -> None:
    WRITERS["msmt"](tmp_path)
    apart, merged = load_dataset("msmt", tmp_path), load_dataset("msmt_all", tmp_path)
    assert set(merged.train) == {*apart.train, *apart.query, *apart.gallery}
    assert len(merged.train) == 8
    assert {record.person for record in merged.train} == {0, 1, 2, 3, 4}
    assert (merged.query, merged.gallery) == ((), ())


@pytest.mark.parametrize("name", ["msmt", "msmt_all"])
@pytest.mark.parametrize("folders", [("MSMT17_V1", "MSMT17_V2"), ("msmt17", "msmt17")])
def test_msmt_in_both_releases_asks_which(tmp_path: Path, name: str, folders: tuple[str, str]) -> None:
    for folder, release in zip(folders, ("V1", "V2"), strict=True):
        tiny.write_msmt(tmp_path / folder, release)
    message = refusal(name, tmp_path)
    assert "V1" in message
    assert "V2" in message
    assert "--msmt-release" in message
    for release in ("V1", "V2"):
        assert load_dataset(name, tmp_path, msmt_release=release).release == release
    assert load_dataset(name, tmp_path, "V1").fingerprint != load_dataset(name, tmp_path, "V2").fingerprint


def test_an_msmt_release_that_is_not_there_is_refused(tmp_path: Path) -> None:
    WRITERS["msmt"](tmp_path)
    assert "holds V1" in refusal("msmt", tmp_path, msmt_release="V2")
    assert "give V1 or V2" in refusal("msmt", tmp_path, msmt_release="V3")


def test_a_partial_msmt_mirror_is_refused_with_count_and_first_missing(tmp_path: Path) -> None:
    root = WRITERS["msmt"](tmp_path)
    gone = [root / "test" / path for path, _ in tiny.MSMT_LISTS["list_gallery.txt"][:2]]
    for path in gone:
        path.unlink()
    message = refusal("msmt", tmp_path)
    assert "2 of the listed images are not on disk" in message
    assert str(gone[0]) in message
    assert "60,910" in message


def test_msmt_lists_may_come_from_windows(tmp_path: Path) -> None:
    root = WRITERS["msmt"](tmp_path)
    before = load_dataset("msmt", tmp_path)
    for name in tiny.MSMT_LISTS:
        text = (root / name).read_text()
        (root / name).write_bytes(b"\xef\xbb\xbf" + text.replace("/", "\\").replace("\n", "\r\n").encode() + b"\r\n")
    after = load_dataset("msmt", tmp_path)
    assert (after.train, after.query, after.gallery) == (before.train, before.query, before.gallery)


@pytest.mark.parametrize("line", ["only_a_path.jpg", "a/b.jpg 1 x", "0000/0002_c1s1_000451_03.jpg 2", " 7"])
def test_a_bad_line_in_an_msmt_list_is_named(tmp_path: Path, line: str) -> None:
    root = WRITERS["msmt"](tmp_path)
    with (root / "list_val.txt").open("a") as file:
        file.write(line + "\n")
    message = refusal("msmt", tmp_path)
    assert "line 2" in message or "0002_c1s1_000451_03.jpg" in message


# RandPerson


@pytest.mark.parametrize(
    "folder",
    [
        "randperson/randperson_subset",
        "randperson/randperson_subset/randperson_subset",
        "RandPerson/randperson_subset",
        "randperson_subset",
        "randperson",
    ],
)
def test_randperson_is_found_at_every_depth(tmp_path: Path, folder: str) -> None:
    root = tiny.write_randperson(tmp_path / folder)
    dataset = load_dataset("randperson", tmp_path)
    assert dataset.root == root
    assert facts(dataset.train) == [
        ("000000_s00_c00_f000264.jpg", 0, 0),
        ("000001_s04_c00_f000001.jpg", 1, 8),
        ("000003_s10_c03_f000300.jpg", 3, 18),
    ]
    assert (dataset.query, dataset.gallery) == ((), ())


def test_a_picture_above_randpersons_images_does_not_hide_them(tmp_path: Path) -> None:
    root = WRITERS["randperson"](tmp_path)
    tiny.write_image(tmp_path / "randperson" / "overview.png")
    assert load_dataset("randperson", tmp_path).root == root


@given(st.sampled_from([(s, c) for s, n in enumerate((2, 2, 2, 2, 1, 1, 2, 1, 1, 1, 4)) for c in range(n)]))
def test_randperson_scene_and_camera_are_read_by_letter(place: tuple[int, int]) -> None:
    scene, camera = place
    by_scene = forms.RANDPERSON.parse(f"000012_s{scene:02}_c{camera:02}_f000264.jpg")
    assert by_scene is not None
    assert by_scene == forms.RANDPERSON.parse(f"000012_c{camera:02}_s{scene:02}_f000264.jpg")
    assert by_scene.camera == sum((2, 2, 2, 2, 1, 1, 2, 1, 1, 1, 4)[:scene]) + camera


@pytest.mark.parametrize("name", ["000000_s04_c01_f1.jpg", "000000_s11_c00_f1.jpg", "000000_c00_c00_f1.jpg"])
def test_a_randperson_camera_that_no_scene_has_is_refused(tmp_path: Path, name: str) -> None:
    tiny.write_randperson(tmp_path / "randperson", [*tiny.RANDPERSON, name])
    assert name in refusal("randperson", tmp_path)


# All sets


@pytest.mark.parametrize("form", forms.FORMS, ids=lambda form: form.title)
def test_no_set_takes_the_names_of_another(form: forms.NameForm) -> None:
    assert [other.title for other in forms.FORMS if other.parse(form.example)] == [form.title]


@pytest.mark.parametrize("name", NAMES)
def test_description_tells_whether_there_is_a_test_split(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    dataset = load_dataset(name, tmp_path)
    assert dataset.name == name
    assert describe()[name].has_test == bool(dataset.query and dataset.gallery)
    assert "\n" not in describe()[name].text


@pytest.mark.parametrize("name", NAMES)
def test_every_split_is_sorted_and_real_data_is_no_standin(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    dataset = load_dataset(name, tmp_path)
    for split in (dataset.train, dataset.query, dataset.gallery):
        assert list(split) == sorted(split)
    assert dataset.standin is None


# Fingerprint


def test_fingerprint_does_not_depend_on_where_the_set_lies(tmp_path: Path) -> None:
    tiny.write_folders(tmp_path / "a" / "market", tiny.MARKET)
    tiny.write_folders(tmp_path / "b" / "Market-1501-v15.09.15", tiny.MARKET)
    assert load_dataset("market", tmp_path / "a").fingerprint == load_dataset("market", tmp_path / "b").fingerprint


def test_fingerprint_sees_names_sizes_and_lists(tmp_path: Path) -> None:
    root = WRITERS["msmt"](tmp_path)
    seen = {load_dataset("msmt", tmp_path).fingerprint}
    (root / "train" / tiny.MSMT_LISTS["list_train.txt"][0][0]).write_bytes(tiny.JPEG + b"\0")
    seen.add(load_dataset("msmt", tmp_path).fingerprint)
    # The same images, dealt differently: only the lists differ.
    train, val = (root / "list_train.txt").read_text(), (root / "list_val.txt").read_text()
    (root / "list_train.txt").write_text(val)
    (root / "list_val.txt").write_text(train)
    seen.add(load_dataset("msmt", tmp_path).fingerprint)
    assert len(seen) == 3


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 10**9), min_size=2), st.randoms())
def test_fingerprint_does_not_depend_on_the_order_of_the_listing(files: dict[str, int], random: Random) -> None:
    shuffled = list(files.items())
    random.shuffle(shuffled)
    assert fingerprint(dict(shuffled), {}) == fingerprint(files, {})
    first = shuffled[0][0]
    assert fingerprint(files | {first: files[first] + 1}, {}) != fingerprint(files, {})
    assert fingerprint(files, {"list": b""}) != fingerprint(files, {})
