"""The small test sets, CUHK02 and CUHK-SYSU are read right, and `_all` behind a set means all its images."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import tiny_sets as tiny
from tiny_sets import WRITERS, refusal

from bench.data import ImageRecord, load_dataset
from bench.data.check import check
from bench.data.dataset import Split

SMALL = ("viper", "prid", "grid", "ilids")
FOLDERS = {
    "viper": (tiny.VIPER, ["VIPeR", "viper/VIPeR", "viper"]),
    "prid": (tiny.PRID, ["prid_2011/single_shot", "prid2011/prid_2011/single_shot", "PRID_2011/single_shot"]),
    "grid": (tiny.GRID, ["underground_reid", "grid/underground_reid", "GRID"]),
    "ilids": (tiny.ILIDS, ["i-LIDS_Pedestrian", "ilids/i-LIDS_Pedestrian", "i-LIDS", "ilids"]),
    "cuhk02": (tiny.CUHK02, ["cuhk02/Dataset", "CUHK02/Dataset", "cuhk02"]),
    "cuhksysu": (tiny.CUHKSYSU, ["cuhksysu", "CUHK-SYSU", "cuhk_sysu"]),
}


def facts(records: Iterable[ImageRecord]) -> list[tuple[str, int, int]]:
    return [(record.path.name, record.person, record.camera) for record in records]


@pytest.mark.parametrize(("name", "folder"), [(name, folder) for name in FOLDERS for folder in FOLDERS[name][1]])
def test_they_are_found_under_every_usual_folder_name(tmp_path: Path, name: str, folder: str) -> None:
    root = tiny.write_folders(tmp_path / folder, FOLDERS[name][0])
    if name in SMALL:
        tiny.write_splits(root / "pairbench_splits.json", name)
    assert load_dataset(name, tmp_path).root == root


def test_viper_pairs_by_the_number_before_the_angle_and_zero_is_a_person(tmp_path: Path) -> None:
    WRITERS["viper"](tmp_path)
    dataset = load_dataset("viper", tmp_path)
    assert facts(dataset.query) == [("000_45.bmp", 0, 0), ("003_0.bmp", 3, 0)]
    assert facts(dataset.gallery) == [("000_90.bmp", 0, 1), ("003_180.bmp", 3, 1)]
    assert dataset.train == () and dataset.both_ways and not dataset.one_side
    assert dataset.splits == (
        Split(0, (0,), (0,)), Split(0, (0,), (0,), True), Split(1, (0, 1), (0, 1)), Split(1, (0, 1), (0, 1), True)
    )  # fmt: skip
    rows = {row.split: row.found for row in check(["viper"], tmp_path).sets[0].splits}
    assert (rows["cam_a/"].images, rows["cam_a/"].persons, rows["gallery"].persons) == (2, 2, 1)


def test_prids_strangers_distract_in_view_b_and_are_left_out_of_view_a(tmp_path: Path) -> None:
    WRITERS["prid"](tmp_path)
    dataset = load_dataset("prid", tmp_path)
    assert [record.person for record in dataset.query] == [1, 2]
    assert [record.person for record in dataset.gallery] == [1, 2, 201, 202]
    assert dataset.splits == (Split(0, (1,), (1, 2, 3)), Split(1, (0,), (0, 2, 3)))
    (report,) = check(["prid"], tmp_path).sets
    assert {row.split: row.found.images for row in report.splits} == {
        "cam_a/": 3, "cam_b/": 4, "query": 1, "gallery": 3
    }  # fmt: skip
    assert any("neither query nor gallery: cam_a/person_0201.png" in note for note in report.notes)


def test_grid_has_cameras_in_its_names_and_strangers_in_every_split(tmp_path: Path) -> None:
    WRITERS["grid"](tmp_path)
    dataset = load_dataset("grid", tmp_path)
    assert [(record.person, record.camera) for record in dataset.query] == [(1, 0), (2, 4)]
    assert [(record.person, record.camera) for record in dataset.gallery] == [(0, 5), (1, 1), (2, 2)]
    assert dataset.splits == (Split(0, (1,), (0, 2)), Split(1, (0,), (0, 1)))


def test_an_image_of_ilids_may_be_query_or_gallery(tmp_path: Path) -> None:
    WRITERS["ilids"](tmp_path)
    dataset = load_dataset("ilids", tmp_path)
    assert dataset.one_side and [one.path for one in dataset.query] == [one.path for one in dataset.gallery]
    assert {record.camera for record in dataset.query} == {0} and {record.camera for record in dataset.gallery} == {1}
    assert dataset.splits == (Split(0, (4,), (2,)), Split(1, (1,), (0,)))


def test_cuhk02_keeps_the_persons_and_cameras_of_its_pairs_apart(tmp_path: Path) -> None:
    WRITERS["cuhk02"](tmp_path)
    train = load_dataset("cuhk02", tmp_path).train
    assert {(record.person, record.camera) for record in train} == {
        (1000 * pair + person, 2 * pair - 2 + side) for pair in range(1, 6) for person in (1, 2) for side in (0, 1)
    }
    (tmp_path / "cuhk02" / "Dataset" / "P3" / "cam2").rename(tmp_path / "elsewhere")
    assert "P3/cam2 missing" in refusal("cuhk02", tmp_path)


def test_cuhksysu_has_persons_and_no_cameras(tmp_path: Path) -> None:
    WRITERS["cuhksysu"](tmp_path)
    assert facts(load_dataset("cuhksysu", tmp_path).train) == [
        ("p11422_s16929_1.jpg", 11422, 0), ("p1_s2_1.jpg", 1, 0), ("p1_s3_1.jpg", 1, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["market", "cuhk03"])
def test_all_means_every_image_of_a_person(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    apart, merged = load_dataset(name, tmp_path), load_dataset(f"{name}_all", tmp_path)
    assert {*merged.train} == {*apart.train, *apart.query, *(one for one in apart.gallery if one.person > 0)}
    assert (merged.query, merged.gallery, merged.name) == ((), (), f"{name}_all")
    assert merged.fingerprint != apart.fingerprint or name == "cuhk03"  # Market's strangers are left out


def test_the_sets_with_their_doubles_are_checked_once_unless_asked_for(tmp_path: Path) -> None:
    WRITERS["market"](tmp_path)
    assert [report.name for report in check(None, tmp_path).sets] == ["market"]
    assert [report.name for report in check(["market_all"], tmp_path).sets] == ["market_all"]


@pytest.mark.parametrize("name", SMALL)
def test_a_small_set_of_which_a_folder_is_missing_is_incomplete(tmp_path: Path, name: str) -> None:
    root = WRITERS[name](tmp_path)
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    folders[-1].rename(tmp_path / "elsewhere")
    said = refusal(name, tmp_path)
    assert str(root) in said and (f"{folders[-1].name} missing" in said or len(folders) == 1)
