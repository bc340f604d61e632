"""The readers find in a stand-in of full size exactly the published counts: its files, without their pictures."""

import json
import os
from pathlib import Path

import pytest
import tiny_sets as tiny

from bench.data import load_dataset
from bench.data.check import check
from bench.data.dataset import STANDIN_MARKER
from bench.data.standin.layouts import plan

READ_BY = {
    "market": ("market", "market_all"),
    "cuhk03": ("cuhk03", "cuhk03_labeled", "cuhk03_all"),
    "msmt": ("msmt", "msmt_all"),
    "randperson": ("randperson",),
    "viper": ("viper",),
    "prid": ("prid",),
    "grid": ("grid",),
    "ilids": ("ilids",),
    "cuhk02": ("cuhk02",),
    "cuhksysu": ("cuhksysu",),
}
LARGE = ("market", "cuhk03", "msmt", "randperson", "cuhksysu")
LINKS = 30_000
"""Names that one file bears at most: file systems have a limit."""


def write_layout(data: Path, name: str) -> Path:
    """Every file of a full stand-in set, its pictures all the same one."""
    whole = plan(name, "full")
    root = data / whole.folder
    folders = {os.path.dirname(image.path) for image in whole.images}  # noqa: PTH120 - fast
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for position, image in enumerate(whole.images):
        if position % LINKS == 0:
            picture = data / f"picture-{position}"
            picture.write_bytes(tiny.JPEG)
        os.link(picture, root / image.path)
    for path, content in whole.files:
        (root / path).write_bytes(content)
    for folder in whole.marked:
        (root / folder / STANDIN_MARKER).write_text(json.dumps({"size": "full", "seed": 0, "version": 1}))
    return root


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in READ_BY]
)
def test_a_full_standin_has_the_published_counts(tmp_path: Path, name: str) -> None:
    write_layout(tmp_path, name)
    for report in check(READ_BY[name], tmp_path).sets:
        assert report.faults == () and report.splits, report.name
        assert all(split.found == split.published for split in report.splits)


@pytest.mark.parametrize(
    ("name", "tests", "sizes", "source"),
    [
        ("viper", 20, (316, 316), "pairbench's splits viper-1 ("),
        ("prid", 10, (100, 649), "pairbench's splits prid-1 ("),
        ("grid", 10, (125, 900), "the set's own partitions, features_and_partitions.mat ("),
        ("ilids", 10, (60, 60), "pairbench's splits ilids-1 ("),
    ],
)
def test_each_split_of_a_full_standin_has_the_published_sizes(
    tmp_path: Path, name: str, tests: int, sizes: tuple[int, int], source: str
) -> None:
    write_layout(tmp_path, name)
    dataset = load_dataset(name, tmp_path)
    assert len(dataset.splits) == tests and dataset.split_source.startswith(source)
    assert {(len(split.query), len(split.gallery)) for split in dataset.splits} == {sizes}
    for split in dataset.splits:
        query, gallery = (
            [records[at] for at in positions]
            for records, positions in ((dataset.query, split.query), (dataset.gallery, split.gallery))
        )
        # One match for each query, of another camera, and never the query's own image.
        sought = {one.person for one in query}
        camera_of = {one.person: one.camera for one in gallery if one.person in sought}
        assert len(sought) == len(query) == sum(one.person in sought for one in gallery)
        assert all(camera_of[one.person] != one.camera for one in query)
        assert not {one.path for one in query} & {one.path for one in gallery}
