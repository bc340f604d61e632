"""What lies among the images and is none, persons that cannot be, and what cannot be looked into: all told by name."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_sets as tiny
from PIL import Image
from tiny_sets import WRITERS, refusal

from bench.data import load_dataset
from bench.data.check import SetReport, check, render
from bench.data.listing import obstacles
from bench.errors import UserError

STRAY = {
    "market": "query/0001_c3s1_001051_00",
    "cuhk03": "bounding_box_test/0002_c2_4",
    "randperson": "000009_s00_c00_f000001",
}
TRAIN, QUERY = "list_train.txt", "list_query.txt"


def report_on(name: str, data: Path, deep: bool = False) -> SetReport:
    (report,) = check([name], data, deep=deep).sets
    return report


def told_and_refused(name: str, data: Path, *words: str) -> None:
    """The check calls it a fault, and a run is refused, in the same words."""
    refused, faults = refusal(name, data), "\n".join(report_on(name, data).faults)
    for word in words:
        assert word in refused and word in faults


# Among the images


@pytest.mark.parametrize("name", STRAY)
def test_a_folder_that_is_called_like_an_image_is_a_fault(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path) / f"{STRAY[name]}.jpg"
    folder.mkdir()
    told_and_refused(name, tmp_path, f"1 images are folders or links to nothing, first {folder}")


def test_a_link_in_a_circle_that_is_called_like_an_image_is_a_fault(tmp_path: Path) -> None:
    link = WRITERS["market"](tmp_path) / f"{STRAY['market']}.jpg"
    link.symlink_to(link)
    told_and_refused("market", tmp_path, str(link))


def test_a_listed_image_that_is_a_folder_is_missing_and_an_unlisted_one_noted(tmp_path: Path) -> None:
    root = WRITERS["msmt"](tmp_path)
    (root / "test" / "0000" / "0000_009_14_0114noon_0012_0.jpg").mkdir()
    load_dataset("msmt", tmp_path)
    assert any("0000_009_14_0114noon_0012_0.jpg" in note for note in report_on("msmt", tmp_path).notes)
    listed = root / "test" / "0000" / "0000_001_14_0114noon_0012_0.jpg"
    listed.unlink()
    listed.mkdir()
    told_and_refused("msmt", tmp_path, "1 of the listed images are not on disk", str(listed))


def test_no_folder_vanishes_without_a_word(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    for folder in ("query/more images", "bounding_box_test/__MACOSX", "bounding_box_train/.cache"):
        tiny.write_image(root / folder / "0001_c3s1_001051_00.jpg")
    loop = root / "query" / "loop"
    loop.symlink_to(loop)
    load_dataset("market", tmp_path)
    (note,) = (note for note in report_on("market", tmp_path).notes if "are no images" in note)
    for name in ("query/more images/", "bounding_box_test/__MACOSX/", "bounding_box_train/.cache/", "query/loop"):
        assert name in note


@pytest.mark.parametrize("suffix", ["tif", "TIFF", "webp", "ppm"])
def test_images_in_a_format_that_no_set_has_are_a_fault(tmp_path: Path, suffix: str) -> None:
    stray = WRITERS["market"](tmp_path) / f"{STRAY['market']}.{suffix}"
    stray.write_bytes(b"something")
    told_and_refused("market", tmp_path, f"1 images are not JPEG, PNG or BMP, the formats of the sets, first {stray}")


def test_the_deep_check_says_what_is_done_with_orientation_and_transparency(tmp_path: Path) -> None:
    root = WRITERS["cuhk03"](tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 8
    turned, glass = (root / "query" / name for name in tiny.CUHK03["query"])
    Image.new("RGB", (4, 8)).save(turned, exif=exif)
    Image.new("RGBA", (4, 8), (1, 2, 3, 4)).save(glass)
    report = report_on("cuhk03", tmp_path, deep=True)
    text = render(check(["cuhk03"], tmp_path, deep=True))
    assert not any("cannot be opened" in fault for fault in report.faults)
    for image, words in ((turned, "EXIF orientation; it is not applied"), (glass, "the colours are taken as stored")):
        (note,) = (note for note in report.notes if words in note)
        assert f"query/{image.name}" in note and f"note: {note}" in text


# Persons


def test_a_person_of_twenty_digits_in_a_list_is_refused(tmp_path: Path) -> None:
    lines = tiny.MSMT_LISTS[TRAIN]
    for person in (10**9, 10**10, 10**19):
        tiny.write_msmt(tmp_path / "msmt", lists=tiny.MSMT_LISTS | {TRAIN: [(lines[0][0], person), lines[1]]})
        told_and_refused("msmt", tmp_path, f"{tmp_path / 'msmt' / TRAIN}, line 1")


@pytest.mark.parametrize("person", ["9" * 5000, "1e3", "-", "--1", "+1", "1.0", "\u0661", ""])
def test_what_is_no_number_in_a_list_is_named_with_its_line(tmp_path: Path, person: str) -> None:
    root = WRITERS["msmt"](tmp_path)
    first, *rest = (root / QUERY).read_text().splitlines()
    (root / QUERY).write_text("\n".join([first, f"{rest[0].split()[0]} {person}"]))
    told_and_refused("msmt", tmp_path, f"{root / QUERY}, line 2")


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("market", "bounding_box_train/99999999999999999999_c1s1_000451_03.jpg"),
        ("cuhk03", "bounding_box_train/2147483648_c1_1.png"),
        ("randperson", "99999999999999999999_s00_c00_f000264.jpg"),
    ],
)
def test_a_person_in_a_name_that_training_could_not_number_is_refused(tmp_path: Path, name: str, image: str) -> None:
    tiny.write_image(WRITERS[name](tmp_path) / image)
    told_and_refused(name, tmp_path, "person number above", image)


@pytest.mark.parametrize("list_name", tiny.MSMT_LISTS)
def test_a_list_that_contradicts_the_name_of_an_image_is_refused(tmp_path: Path, list_name: str) -> None:
    path, person = tiny.MSMT_LISTS[list_name][-1]
    changed = [*tiny.MSMT_LISTS[list_name][:-1], (path, person + 1)]
    root = tiny.write_msmt(tmp_path / "msmt", lists=tiny.MSMT_LISTS | {list_name: changed})
    told_and_refused(
        "msmt", tmp_path, f"{root / list_name}, line {len(changed)}", path, f"person {person + 1}", f"person {person}"
    )


@pytest.mark.parametrize(
    ("split", "position", "change"),
    [
        ("train", 1, lambda path, person, camera: [path, person + 5, camera]),
        ("train", 2, lambda path, person, camera: [path, 0, camera]),
        ("gallery", 0, lambda path, person, camera: [path, person + 7, camera]),
        ("query", 0, lambda path, person, camera: [path, person, camera + 1]),
    ],
    ids=["two labels for one person", "one label for two persons", "query and gallery disagree", "another camera"],
)
def test_a_splits_file_that_contradicts_the_names_is_refused(tmp_path: Path, split, position, change) -> None:
    root = tmp_path / "cuhk03"
    tiny.write_torchreid_cuhk03(root)
    load_dataset("cuhk03", tmp_path)
    file = root / "splits_new_detected.json"
    content = json.loads(file.read_text())
    content[0][split][position] = change(*content[0][split][position])
    file.write_text(json.dumps(content))
    told_and_refused("cuhk03", tmp_path, str(file), "contradicts", tiny.TORCHREID[split][position])


# What cannot be looked into


def make_loop(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path)


@pytest.mark.parametrize(
    "loop", ["market", "Market-1501-v15.09.15", "unrelated", "cuhk03", "msmt/MSMT17_V1", ".hidden"]
)
def test_a_link_in_a_circle_hides_no_set(tmp_path: Path, loop: str) -> None:
    roots = {"market": tiny.write_folders(tmp_path / "market1501", tiny.MARKET)}
    roots |= {name: WRITERS[name](tmp_path) for name in ("cuhk03", "msmt", "randperson")}
    make_loop(tmp_path / loop)
    for name, root in roots.items():
        assert load_dataset(name, tmp_path).root == root
    report = check(None, tmp_path)
    assert {checked.name: checked.root for checked in report.sets} == roots
    if "/" not in loop:
        line = f"note: {tmp_path / loop} cannot be looked into (Too many levels of symbolic links)"
        assert line in render(report).splitlines()


@pytest.mark.parametrize(
    ("name", "entry"),
    [("market", "market"), ("cuhk03", "cuhk03-np/detected"), ("msmt", "msmt/MSMT17_V2"), ("randperson", "randperson")],
)
def test_the_way_to_a_set_that_cannot_be_followed_is_named_where_the_set_is_absent(tmp_path, name, entry) -> None:
    (tmp_path / "something else").mkdir()
    make_loop(tmp_path / entry)
    message = refusal(name, tmp_path)
    assert "is absent" in message
    assert f"{tmp_path / entry} cannot be looked into (Too many levels of symbolic links)" in message


def test_a_link_to_nothing_is_named_where_no_set_is_found(tmp_path: Path) -> None:
    (tmp_path / "market").symlink_to("/not/mounted")
    with pytest.raises(UserError) as caught:
        check(None, tmp_path)
    assert f"{tmp_path / 'market'} cannot be looked into (No such file or directory)" in str(caught.value)


def test_a_part_of_a_set_that_cannot_be_followed_is_named(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    (root / "query").rename(tmp_path / "elsewhere")
    make_loop(root / "query")
    assert f"query missing ({root / 'query'} cannot be looked into (Too many levels" in refusal("market", tmp_path)


def test_a_data_directory_that_leads_nowhere_is_told_from_an_absent_one(tmp_path: Path) -> None:
    make_loop(tmp_path / "data")
    assert f"{tmp_path / 'data'} cannot be looked into" in refusal("market", tmp_path / "data")
    assert "does not exist" in refusal("market", tmp_path / "nowhere")


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Folders that this process may see and not look into, as another user's of mode 0700."""
    closed: set[str] = set()

    def guard(real, folder_itself: bool):
        def call(path, *more, **options):
            text = os.fspath(path)
            inside = any(text.startswith(f"{folder}/") for folder in closed) or (folder_itself and text in closed)
            if inside:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), text)
            return real(path, *more, **options)

        return call

    monkeypatch.setattr(os, "scandir", guard(os.scandir, True))
    monkeypatch.setattr(os, "stat", guard(os.stat, False))
    yield closed
    monkeypatch.undo()


def test_another_users_folder_hides_no_set(tmp_path: Path, locked: set[str]) -> None:
    roots = {name: WRITERS[name](tmp_path) for name in ("cuhk03", "msmt", "randperson")}
    roots["market"] = tiny.write_folders(tmp_path / "market1501", tiny.MARKET)
    for folder in ("market", "cuhk03", "msmt17"):
        (tmp_path / folder).mkdir()
        locked.add(str(tmp_path / folder))
    for name, root in roots.items():
        assert load_dataset(name, tmp_path).root == root
    lines = render(check(None, tmp_path)).splitlines()
    for folder in locked:
        assert f"note: {folder} cannot be looked into (Permission denied)" in lines


def test_another_users_folder_is_named_where_the_set_is_absent(tmp_path: Path, locked: set[str]) -> None:
    for name in ("market", "cuhk03", "msmt", "randperson"):
        folder = tmp_path / name
        folder.mkdir()
        locked.add(str(folder))
        assert f"{folder} cannot be looked into (Permission denied)" in refusal(name, tmp_path)
    assert len(obstacles(tmp_path)) == 4
