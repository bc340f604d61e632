"""`bench data check` compares what is on disk with what was published, and says by name what is wrong."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_sets as tiny
from tiny_sets import WRITERS

from bench.commands import data as command
from bench.data import NAMES, load_dataset
from bench.data import check as check_module
from bench.data.check import SetReport, check, render
from bench.data.dataset import STANDIN_MARKER
from bench.data.published import PUBLISHED, Counts, Published
from bench.errors import UserError


def mark_standin(root: Path, size: str = "demo", seed: int = 3) -> None:
    (root / STANDIN_MARKER).write_text(json.dumps({"size": size, "seed": seed, "version": 1}))


def check_one(name: str, data: Path, **options: bool | int | str) -> SetReport:
    (report,) = check([name], data, **options).sets
    return report


def exit_code(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers(dest="command"))
    return command.run(parser.parse_args(["data", *arguments]))


@pytest.fixture
def tiny_market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Market-1501 of a few images, and published counts to match."""
    counts = Published(6, Counts(3, 2), Counts(2, 2), Counts(3, 2), distractors=1, junk=1)
    monkeypatch.setitem(PUBLISHED, "market", counts)
    root = WRITERS["market"](tmp_path)
    # The only images of cameras 4 and 5 are in the gallery, so that all six are seen over the whole set alone.
    return root


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("market", 12_936 + 3_368 + 15_913),
        ("cuhk03", 14_097),
        ("cuhk03_labeled", 14_096),
        ("msmt", 126_441),
        ("msmt_all", 126_441),
        ("randperson", 132_145),
    ],
)
def test_published_counts_add_up_to_the_size_of_the_set(name: str, images: int) -> None:
    published = PUBLISHED[name]
    splits = [split for split in (published.train, published.query, published.gallery) if split]
    assert sum(split.images for split in splits) == images


def test_every_set_has_published_counts_for_the_splits_it_has() -> None:
    assert set(PUBLISHED) == set(NAMES)
    # The Market-1501 test folder: 19,732 files, of which 3,819 are junk.
    assert PUBLISHED["market"].gallery.images + PUBLISHED["market"].junk == 19_732


def test_a_set_with_the_published_counts_is_complete(tmp_path: Path, tiny_market: Path) -> None:
    tiny.write_image(tiny_market / "query" / "Thumbs.jpg").rename(tiny_market / "query" / "Thumbs.db")
    report = check_one("market", tmp_path)
    assert report.faults == ()
    assert report.root == tiny_market
    assert report.fingerprint == load_dataset("market", tmp_path).fingerprint
    text = render(check(["market"], tmp_path))
    for words in (
        "market: complete",
        str(tiny_market),
        "3 of 3",
        report.fingerprint,
        "query/Thumbs.db",
        "1 junk images",
    ):
        assert words in text


def test_one_missing_image_is_noticed(tmp_path: Path, tiny_market: Path) -> None:
    (tiny_market / "bounding_box_train" / "0002_c1s1_000451_03.jpg").unlink()
    assert check_one("market", tmp_path).faults == ("train: images: 2 found, 3 published, 1 missing",)
    assert load_dataset("market", tmp_path).train


def test_distractors_count_as_images_and_not_as_persons(tmp_path: Path, tiny_market: Path) -> None:
    (tiny_market / "bounding_box_test" / "0000_c4s1_000402_02.jpg").unlink()
    assert check_one("market", tmp_path).faults == (
        "gallery: images: 2 found, 3 published, 1 missing",
        "cameras: 5 found, 6 published, 1 missing",
        "distractors in the gallery: 0 found, 1 published, 1 missing",
    )


def test_listed_images_that_are_missing_and_unlisted_ones_are_named(tmp_path: Path) -> None:
    root = WRITERS["msmt"](tmp_path)
    (root / "train" / tiny.MSMT_LISTS["list_train.txt"][0][0]).unlink()
    tiny.write_image(root / "test" / "0009" / "0009_000_01_0303morning_0008_0.jpg")
    report = check_one("msmt", tmp_path)
    assert report.title == "MSMT17 V1"
    assert any("1 of the listed images are not on disk" in fault for fault in report.faults)
    assert any(tiny.MSMT_LISTS["list_train.txt"][0][0] in note for note in report.notes)
    assert any("test/0009/0009_000_01_0303morning_0008_0.jpg" in note for note in report.notes)


def test_a_second_copy_is_mentioned(tmp_path: Path) -> None:
    tiny.write_folders(tmp_path / "market", tiny.MARKET)
    second = tiny.write_folders(tmp_path / "market1501", tiny.MARKET)
    assert any(str(second) in note for note in check_one("market", tmp_path).notes)


@pytest.mark.parametrize("name", NAMES)
def test_deep_check_names_the_image_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    whole = check_one(name, tmp_path, deep=True, workers=2)
    assert not any("cannot be opened" in fault for fault in whole.faults)
    dataset = load_dataset(name, tmp_path)
    damaged = (dataset.train or dataset.query)[0].path
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-20] + b"\0" * 20)
    report = check_one(name, tmp_path, deep=True, workers=2)
    assert [str(damaged) in fault for fault in report.faults if "1 images cannot be opened" in fault] == [True]
    # Same names and sizes: only the deep fingerprint can tell.
    assert report.fingerprint == whole.fingerprint
    assert report.deep_fingerprint != whole.deep_fingerprint


def test_a_web_page_saved_as_an_image_cannot_be_opened(tmp_path: Path, tiny_market: Path) -> None:
    (tiny_market / "query" / "0001_c1s1_001051_00.jpg").write_text("<html>404</html>")
    (fault,) = check_one("market", tmp_path, deep=True).faults
    assert "0001_c1s1_001051_00.jpg (it is no JPEG, PNG or BMP file)" in fault


def test_a_png_whose_checksum_is_wrong_counts_as_damaged_though_it_opens(tmp_path: Path) -> None:
    image = WRITERS["cuhk03"](tmp_path) / "query" / "0002_c1_1.png"
    content = bytearray(image.read_bytes())
    content[-13] ^= 0xFF  # the last byte before the closing chunk: the pixels' checksum
    image.write_bytes(content)
    assert any(str(image) in fault for fault in check_one("cuhk03", tmp_path, deep=True).faults)


def test_files_that_two_sets_share_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS["msmt"](tmp_path)
    calls = []
    read_all = check_module._read_all
    monkeypatch.setattr(check_module, "_read_all", lambda *given: calls.append(given) or read_all(*given))
    first, second = check(["msmt", "msmt_all"], tmp_path, deep=True).sets
    assert len(calls) == 1
    assert first.deep_fingerprint == second.deep_fingerprint != ""


def test_both_boxes_of_torchreids_cuhk03_are_read_though_they_share_a_folder(tmp_path: Path) -> None:
    for boxes in ("detected", "labeled"):
        tiny.write_torchreid_cuhk03(tmp_path / "cuhk03", boxes)
    (tmp_path / "cuhk03" / "images_labeled" / "1_001_1_01.png").write_bytes(b"damaged")
    detected, labeled = check(["cuhk03", "cuhk03_labeled"], tmp_path, deep=True).sets
    assert not any("cannot be opened" in fault for fault in detected.faults)
    assert any("cannot be opened" in fault for fault in labeled.faults)


# Stand-in data


@pytest.mark.parametrize("name", NAMES)
def test_standin_data_is_called_so_and_not_compared_with_published_counts(tmp_path: Path, name: str) -> None:
    mark_standin(WRITERS[name](tmp_path), "demo", seed=3)
    report = check_one(name, tmp_path)
    assert report.faults == ()
    assert report.standin == load_dataset(name, tmp_path).standin == "stand-in data (demo, seed 3)"
    assert "stand-in data (demo, seed 3)" in render(check([name], tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_full_standin_data_is_compared(tmp_path: Path, name: str) -> None:
    mark_standin(WRITERS[name](tmp_path), "full")
    assert any("published" in fault for fault in check_one(name, tmp_path).faults)


def test_the_marker_may_lie_above_the_images_folder_but_not_in_the_data_directory(tmp_path: Path) -> None:
    WRITERS["randperson"](tmp_path)
    mark_standin(tmp_path)
    assert load_dataset("randperson", tmp_path).standin is None
    mark_standin(tmp_path / "randperson", "tiny", seed=0)
    assert load_dataset("randperson", tmp_path).standin == "stand-in data (tiny, seed 0)"


def test_two_seeds_have_two_fingerprints_even_with_equal_sizes(tmp_path: Path) -> None:
    root = WRITERS["market"](tmp_path)
    mark_standin(root, seed=0)
    first = load_dataset("market", tmp_path).fingerprint
    mark_standin(root, seed=1)
    assert load_dataset("market", tmp_path).fingerprint != first


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"size": "demo"}', '{"size": "demo", "seed": "x"}'])
def test_a_marker_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    (WRITERS["market"](tmp_path) / STANDIN_MARKER).write_text(content)
    with pytest.raises(UserError, match=STANDIN_MARKER):
        load_dataset("market", tmp_path)


def test_standin_folders_are_checked_where_the_data_directory_has_no_set(tmp_path: Path) -> None:
    for size in ("demo", "tiny"):
        mark_standin(WRITERS["market"](tmp_path / f"standin-{size}"), size)
    mark_standin(WRITERS["randperson"](tmp_path / "standin-tiny"), "tiny")
    found = [(report.data_dir.name, report.name) for report in check(None, tmp_path).sets]
    assert found == [("standin-demo", "market"), ("standin-tiny", "market"), ("standin-tiny", "randperson")]
    assert [report.data_dir.name for report in check(["randperson"], tmp_path).sets] == ["standin-tiny"]
    with pytest.raises(UserError, match="MSMT17 is absent"):
        check(["market", "msmt"], tmp_path)
    real = WRITERS["market"](tmp_path)
    assert [report.root for report in check(None, tmp_path).sets] == [real]


# The command


def test_exit_code_tells_complete_from_faulty(
    tmp_path: Path, tiny_market: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("check", "market", "--data-dir", str(tmp_path)) == 0
    assert exit_code("check", "--data-dir", str(tmp_path), "--deep") == 0
    (tiny_market / "query" / "0001_c1s1_001051_00.jpg").unlink()
    assert exit_code("check", "--data-dir", str(tmp_path)) == 1
    assert "query: images: 1 found, 2 published, 1 missing" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["query", "bounding_box_train"])
def test_a_half_copied_set_is_a_fault_and_the_others_are_still_checked(
    tmp_path: Path, tiny_market: Path, damage: str
) -> None:
    mark_standin(WRITERS["randperson"](tmp_path))
    (tiny_market / damage).rename(tmp_path / "elsewhere")
    market, randperson = check(None, tmp_path).sets
    assert damage in market.faults[0]
    assert randperson.faults == ()
    assert damage in render(check(None, tmp_path))


def test_absent_and_unknown_sets_are_wrong_use(tmp_path: Path, tiny_market: Path) -> None:
    with pytest.raises(UserError, match="RandPerson is absent"):
        check(["market", "randperson"], tmp_path)
    WRITERS["msmt"](tmp_path)
    with pytest.raises(UserError, match="MSMT17 V2 is absent"):
        check(["msmt"], tmp_path, msmt_release="V2")
    with pytest.raises(UserError, match="Did you mean market"):
        check(["markt"], tmp_path)
    with pytest.raises(UserError, match="bench data standin --size demo"):
        check(None, tmp_path / "nothing")


def test_both_msmt_releases_are_a_fault_until_one_is_chosen(tmp_path: Path) -> None:
    for release in ("V1", "V2"):
        mark_standin(tiny.write_msmt(tmp_path / f"MSMT17_{release}", release))
    assert exit_code("check", "msmt", "--data-dir", str(tmp_path)) == 1
    assert exit_code("check", "msmt", "--data-dir", str(tmp_path), "--msmt-release", "v2") == 0
    assert check_one("msmt", tmp_path, msmt_release="V2").title == "MSMT17 V2"


def test_standin_passes_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.data.standin

    asked = {}
    monkeypatch.setattr(bench.data.standin, "write_standin", lambda **given: asked.update(given))
    options = ["--size", "tiny", "--seed", "4", "--sets", "market", "msmt", "--workers", "3"]
    assert exit_code("standin", *options, "--data-dir", str(tmp_path)) == 0
    expected = {"size": "tiny", "seed": 4, "sets": ["market", "msmt"], "workers": 3, "root": tmp_path / "standin-tiny"}
    assert asked.items() >= expected.items()


@pytest.mark.parametrize("action", [[], ["check"], ["standin"]])
def test_help_shows_an_example(action: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        exit_code(*action, "--help")
    assert stopped.value.code == 0
    assert "\n  bench data " in capsys.readouterr().out


def test_reading_sets_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'PIL', 'tqdm', 'bench.data.standin'}"
    code = f"import sys, bench.data, bench.data.check; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
