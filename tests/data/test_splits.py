"""The splits of the small sets: drawn once, taken from where they should be, and refused where they cannot be."""

import hashlib
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import tiny_sets as tiny
from scipy.io import savemat
from tiny_sets import WRITERS

from bench.config import SMALL_TEST_SETS
from bench.data import load_dataset
from bench.data.draw import draw_shipped
from bench.data.readers.grid import PARTITIONS
from bench.data.splits import shipped_splits, written
from bench.errors import UserError

HASHES = {
    "viper": "bf5da2b49ce1",
    "prid": "06aeab44dd7a",
    "grid": "f63c8f74b19f",
    "ilids": "84e548b10852",
}
"""SHA-256 of the files that ship with the suite, begun: whoever changes one changes results that were published."""

TESTED = {"viper": (632, 316), "prid": (200, 100), "grid": (250, 125), "ilids": (119, 60)}


@pytest.mark.parametrize("name", SMALL_TEST_SETS)
def test_the_shipped_splits_are_what_was_drawn_and_never_change(name: str) -> None:
    text = resources.files("bench.data.shipped").joinpath(f"{name}.json").read_text()
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == HASHES[name]
    assert text == written(draw_shipped(name))
    assert '"generator": "numpy PCG64, seed ' in text


@pytest.mark.parametrize("name", SMALL_TEST_SETS)
def test_a_shipped_split_halves_the_persons(name: str) -> None:
    splits = shipped_splits(name).splits
    people, tested = TESTED[name]
    assert len(splits) == 10
    for split in splits:
        test = {int(one[0][:4]) for one in split.test} if name == "ilids" else {*split.test}
        assert (len(test), len(split.test), len(split.train)) == (tested, tested, people - tested)
        assert not test & {*split.train}
    # Two independent halves share about half of their persons.
    shared = [len({*one.train} & {*other.train}) / (people - tested) for one in splits for other in splits[:1]]
    assert shared[0] == 1 and all(0.3 < share < 0.7 for share in shared[1:])


def test_every_image_of_ilids_may_come_first(tmp_path: Path) -> None:
    queries = [one[0][4:7] for split in shipped_splits("ilids").splits for one in split.test]
    counts = [queries.count(f"{image:03d}") for image in range(1, 9)]
    assert min(counts) > 600 / 8 * 0.6 and max(counts) < 600 / 8 * 1.4


def write_partitions(root: Path, trained: list[list[int]], content: object = None) -> None:
    cells = np.empty((1, len(trained)), dtype=object)
    for number, persons in enumerate(trained):
        cells[0, number] = {"a": number, "b": 0.5, "c": np.array([persons], float)}
    savemat(root / PARTITIONS, {"trainIdxAll": cells if content is None else content, "features": np.ones((3, 4))})


def test_grids_own_partitions_go_before_all_but_given_ones(tmp_path: Path) -> None:
    root = WRITERS["grid"](tmp_path)
    (root / "pairbench_splits.json").unlink()
    write_partitions(root, [[1], [2], [1]])
    own = load_dataset("grid", tmp_path)
    assert [[own.query[at].person for at in split.query] for split in own.splits] == [[2], [1], [2]]
    assert own.split_source.startswith("the set's own partitions, features_and_partitions.mat (")
    mine = tiny.write_splits(tmp_path / "mine.json", "grid", [{"test": [1, 2]}], title="mine")
    given = load_dataset("grid", tmp_path, splits=[mine])
    assert given.split_source.startswith("own splits, mine (") and len(given.splits) == 1
    same = tiny.write_splits(tmp_path / "same.json", "grid", [{"test": [2]}, {"test": [1]}, {"test": [2]}])
    assert load_dataset("grid", tmp_path, splits=[same]).fingerprint == own.fingerprint != given.fingerprint


def test_without_partitions_the_shipped_splits_are_taken(tmp_path: Path) -> None:
    persons = range(1, 251)
    names = [f"{person:04d}_{{}}_25004_107_32_106_221.jpeg" for person in persons]
    root = tiny.write_folders(
        tmp_path / "underground_reid",
        {"probe": [name.format(1) for name in names], "gallery": [name.format(2) for name in names]},
    )
    dataset = load_dataset("grid", tmp_path)
    assert dataset.split_source.startswith("pairbench's splits grid-1 (")
    assert [len(split.query) for split in dataset.splits] == [125] * 10
    next((root / "probe").iterdir()).unlink()
    with pytest.raises(UserError, match=r"ship with the suite \(grid-1\), split \d: person \d+ cannot be tested"):
        load_dataset("grid", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(np.arange(10.0), id="numbers"),
        pytest.param("text", id="text"),
        pytest.param({"a": 1, "b": 2}, id="two fields"),
        pytest.param({"a": 1, "b": 2, "c": np.array([1.5])}, id="no persons"),
    ],
)
def test_partitions_of_another_form_are_refused(tmp_path: Path, content: object) -> None:
    root = WRITERS["grid"](tmp_path)
    write_partitions(root, [[1]], content)
    with pytest.raises(UserError, match=rf"{PARTITIONS} is not GRID's file of partitions .* copy it again, or move it"):
        load_dataset("grid", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"\x89HDF"]
)
def test_files_that_are_no_matlab_files_are_refused(tmp_path: Path, content: bytes) -> None:
    root = WRITERS["grid"](tmp_path)
    (root / PARTITIONS).write_bytes(content)
    with pytest.raises(UserError, match=rf"{PARTITIONS} is not GRID's file of partitions"):
        load_dataset("grid", tmp_path)


def test_partitions_of_persons_that_are_not_there_are_refused(tmp_path: Path) -> None:
    write_partitions(WRITERS["grid"](tmp_path), [[1], [77]])
    with pytest.raises(UserError, match=rf"{PARTITIONS}, split 1: person 77 cannot be tested"):
        load_dataset("grid", tmp_path)


@pytest.mark.parametrize(
    ("name", "splits", "message"),
    [
        ("viper", [{"test": [0]}, {"test": [0, 9999]}], r"split 1: person 9999 cannot be tested, as VIPeR in .* lacks"),
        ("viper", [{"train": [7, 8], "test": [0]}], r"split 0: persons 7, 8 cannot be tested"),
        ("viper", [{"train": [0, 3], "test": [3]}], r"split 0: person 3 on both sides, in training and in test"),
        ("viper", [{"test": [3, 3]}], r"split 0: person 3 twice in test"),
        ("viper", [{"test": []}], r"split 0: nobody is tested"),
        ("viper", [], r"holds no split"),
        ("viper", [{"tset": [3]}], r"split 0: .*unknown key 'tset' \(did you mean 'test'\?\)"),
        ("viper", [{"test": ["000_45.bmp"]}], r"split 0: test: .*not '000_45.bmp'"),
        ("viper", [[0, 3]], r"split 0: it needs \"test\", and may have \"train\", not \[0, 3\]"),
        ("prid", [{"test": [201]}], r"split 0: person 201 cannot be tested"),
        ("grid", [{"test": [0]}], r"split 0: person 0 cannot be tested"),
        ("ilids", [{"test": [["0001001.jpg", "0077001.jpg"]]}], r"of the images 0001001.jpg, 0077001.jpg .* has 1"),
        ("ilids", [{"test": [["0001001.jpg", "0001001.jpg"]]}], r"has 1, and a person is tested by two"),
        ("ilids", [{"test": [["0001001.jpg", "0002001.jpg"]]}], r"are not images of one person"),
        ("ilids", [{"train": [2], "test": [["0002001.jpg", "0002002.jpg"]]}], r"person 2 on both sides"),
        ("ilids", [{"train": [55], "test": [["0002001.jpg", "0002002.jpg"]]}], r"person 55 cannot be tested"),
    ],
)
def test_splits_that_do_not_fit_the_set_are_refused(tmp_path: Path, name: str, splits: list, message: str) -> None:
    WRITERS[name](tmp_path)
    path = tiny.write_splits(tmp_path / "mine.json", name, splits)
    with pytest.raises(UserError, match=message) as told:
        load_dataset(name, tmp_path, splits=[path])
    assert str(told.value).startswith(str(path)) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "is no JSON"),
        ("[1]", "is no file of splits"),
        ("{}", "is no file of splits"),
        (
            '{"set": "market", "splits": []}',
            "unknown set of several splits in .* 'market'; known: viper, prid, grid, ilids",
        ),
        ('{"set": "viper"}', "is no file of splits"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    WRITERS["viper"](tmp_path)
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_dataset("viper", tmp_path, splits=[tmp_path / "mine.json"])


def test_a_missing_file_two_files_and_another_sets_file_are_told(tmp_path: Path) -> None:
    root = WRITERS["viper"](tmp_path)
    with pytest.raises(UserError, match=r"nowhere\.json cannot be read"):
        load_dataset("viper", tmp_path, splits=[tmp_path / "nowhere.json"])
    paths = [tiny.write_splits(tmp_path / f"{letter}.json", "viper") for letter in "ab"]
    with pytest.raises(UserError, match=r"a\.json and .*b\.json both hold splits of viper: give one of them"):
        load_dataset("viper", tmp_path, splits=paths)
    tiny.write_splits(root / "pairbench_splits.json", "prid")
    with pytest.raises(UserError, match="holds splits of prid, not of viper"):
        load_dataset("viper", tmp_path)


def test_the_order_of_persons_and_who_trains_change_no_fingerprint(tmp_path: Path) -> None:
    WRITERS["viper"](tmp_path)
    prints = set()
    for number, splits in enumerate([[{"test": [0, 3]}], [{"test": [3, 0]}], [{"train": [0], "test": [3]}]]):
        path = tiny.write_splits(tmp_path / f"{number}.json", "viper", splits)
        prints.add(load_dataset("viper", tmp_path, splits=[path]).fingerprint)
    assert len(prints) == 2


def test_splits_are_written_as_they_are_read() -> None:
    splits = shipped_splits("ilids")
    assert json.loads(written(splits)) == json.loads(splits.model_dump_json())


@pytest.mark.parametrize("name", SMALL_TEST_SETS)
def test_splits_are_drawn_for_a_set_as_it_is_and_fit_it(tmp_path: Path, bench, name: str) -> None:
    WRITERS[name](tmp_path)
    texts = [bench("data", "splits", name, "--data-dir", tmp_path, "--seed", seed).out for seed in "112"]
    assert texts[0] == texts[1] != texts[2]
    (tmp_path / "mine.json").write_text(texts[0])
    dataset = load_dataset(name, tmp_path, splits=[tmp_path / "mine.json"])
    assert len({split.number for split in dataset.splits}) == 10
    assert dataset.split_source.startswith(f"own splits, {name}, seed 1 (")
