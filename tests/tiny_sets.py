"""Sets of a handful of images in each layout that the readers know."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from bench.data import load_dataset
from bench.errors import UserError


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 8), (200, 30, 60)).save(buffer, kind)
    return buffer.getvalue()


JPEG, PNG = _encoded("JPEG"), _encoded("PNG")

MARKET = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c6s1_000551_01.jpg", "0007_c3s3_077419_03.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0005_c2s1_001052_00.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c4s1_000402_02.jpg",
        "0001_c2s1_001053_01.jpg",
        "0005_c5s2_001054_01.jpg.jpg",
    ],
}
CUHK03 = {
    "bounding_box_train": ["0001_c1_1.png", "0001_c2_6.png", "0004_c1_2.png"],
    "query": ["0002_c1_1.png", "0003_c2_7.png"],
    "bounding_box_test": ["0002_c2_8.png", "0003_c1_2.png", "0003_c2_9.png"],
}
TORCHREID = {
    "train": ["1_001_1_01.png", "1_001_2_06.png", "2_001_1_01.png"],
    "query": ["1_002_1_01.png"],
    "gallery": ["1_002_2_06.png", "1_003_1_01.png"],
}
MSMT_LISTS = {
    "list_train.txt": [
        ("0000/0000_000_01_0303morning_0008_0.jpg", 0),
        ("0001/0001_001_15_0303noon_0011_1_ex.jpg", 1),
    ],
    "list_val.txt": [("0000/0000_002_05_0303afternoon_0009_0.jpg", 0)],
    "list_query.txt": [("0000/0000_000_02_0114noon_0010_0.jpg", 0), ("0002/0002_000_03_0114noon_0010_0.jpg", 2)],
    "list_gallery.txt": [
        ("0000/0000_001_14_0114noon_0012_0.jpg", 0),
        ("0001/0001_001_04_0114noon_0013_0.jpg", 1),
        ("0002/0002_001_03_0114noon_0014_0.jpg", 2),
    ],
}
MSMT_FOLDERS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}
VIPER = {"cam_a": ["000_45.bmp", "003_0.bmp"], "cam_b": ["000_90.bmp", "003_180.bmp"]}
PRID = {
    "cam_a": ["person_0001.png", "person_0002.png", "person_0201.png"],
    "cam_b": ["person_0001.png", "person_0002.png", "person_0201.png", "person_0202.png"],
}
GRID = {
    "probe": ["0001_1_25004_107_32_106_221.jpeg", "0002_5_25008_107_32_106_221.jpeg"],
    "gallery": [
        "0000_6_25000_107_32_106_221.jpeg",
        "0001_2_25005_107_32_106_221.jpeg",
        "0002_3_25009_107_32_106_221.jpeg",
    ],
}
ILIDS = {"Persons": ["0001001.jpg", "0001002.jpg", "0002001.jpg", "0002002.jpg", "0002003.jpg"]}
CUHK02 = {f"P{pair}/cam{side}": ["001_1.png", "002_1.png"] for pair in range(1, 6) for side in (1, 2)}
CUHKSYSU = {"cropped_images": ["p1_s2_1.jpg", "p1_s3_1.jpg", "p11422_s16929_1.jpg"]}
SPLITS: dict[str, list[dict]] = {
    "viper": [{"train": [3], "test": [0]}, {"test": [0, 3]}],
    "prid": [{"train": [1], "test": [2]}, {"train": [2], "test": [1]}],
    "grid": [{"train": [1], "test": [2]}, {"train": [2], "test": [1]}],
    "ilids": [{"train": [1], "test": [["0002003.jpg", "0002001.jpg"]]}, {"test": [["0001002.jpg", "0001001.jpg"]]}],
}
"""For the persons of these few images."""
RANDPERSON = ["000000_s00_c00_f000264.jpg", "000003_s10_c03_f000300.jpg", "000001_s04_c00_f000001.jpg"]


def write_image(path: Path) -> Path:
    """Write a tiny image at `path`, in the format that its name gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG if path.suffix == ".png" else JPEG)
    return path


def write_folders(root: Path, folders: Mapping[str, Sequence[str]]) -> Path:
    """Write flat folders of images: Market-1501's and CUHK03-NP's layout."""
    for folder, names in folders.items():
        for name in names:
            write_image(root / folder / name)
    return root


def write_msmt(root: Path, release: str = "V1", lists: Mapping[str, Sequence[tuple[str, int]]] = MSMT_LISTS) -> Path:
    """Write MSMT17's image folders and lists."""
    train, test = MSMT_FOLDERS[release]
    for list_name, lines in lists.items():
        for path, _person in lines:
            write_image(root / (train if list_name in ("list_train.txt", "list_val.txt") else test) / path)
        (root / list_name).write_text("".join(f"{path} {person}\n" for path, person in lines))
    return root


def write_small(root: Path, name: str, folders: Mapping[str, Sequence[str]]) -> Path:
    """Write a small set with the splits that come with it."""
    write_folders(root, folders)
    write_splits(root / "pairbench_splits.json", name)
    return root


def write_splits(path: Path, name: str, splits: object = None, title: str = "") -> Path:
    """Write a file of splits, by default those for the few persons here."""
    path.write_text(json.dumps({"set": name, "name": title, "splits": SPLITS[name] if splits is None else splits}))
    return path


def write_torchreid_cuhk03(root: Path, boxes: str = "detected", written_in: str = "/home/me/cuhk03") -> Path:
    """Write torchreid's form of CUHK03: training persons are labels from 0, paths are another machine's."""
    separator = "\\" if "\\" in written_in else "/"
    labels = {"1_001": 0, "2_001": 1, "1_002": 1, "1_003": 2}
    splits = {
        split: [
            [separator.join((written_in, f"images_{boxes}", name)), labels[name[:5]], int(name[6]) - 1]
            for name in names
        ]
        for split, names in TORCHREID.items()
    }
    for names in TORCHREID.values():
        for name in names:
            write_image(root / f"images_{boxes}" / name)
    (root / f"splits_new_{boxes}.json").write_text(json.dumps([splits]))
    return root


def write_randperson(folder: Path, names: Sequence[str] = RANDPERSON) -> Path:
    """Write RandPerson's one flat folder."""
    for name in names:
        write_image(folder / name)
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "market": lambda data: write_folders(data / "market", MARKET),
    "cuhk03": lambda data: write_folders(data / "cuhk03-np" / "detected", CUHK03),
    "cuhk03_labeled": lambda data: write_folders(data / "cuhk03-np" / "labeled", CUHK03),
    "msmt": lambda data: write_msmt(data / "MSMT17_V1"),
    "msmt_all": lambda data: write_msmt(data / "MSMT17_V1"),
    "randperson": lambda data: write_randperson(data / "randperson" / "randperson_subset"),
    "market_all": lambda data: write_folders(data / "market", MARKET),
    "cuhk03_all": lambda data: write_folders(data / "cuhk03-np" / "detected", CUHK03),
    "cuhk02": lambda data: write_folders(data / "cuhk02" / "Dataset", CUHK02),
    "cuhksysu": lambda data: write_folders(data / "cuhksysu", CUHKSYSU),
    "viper": lambda data: write_small(data / "VIPeR", "viper", VIPER),
    "prid": lambda data: write_small(data / "prid_2011" / "single_shot", "prid", PRID),
    "grid": lambda data: write_small(data / "underground_reid", "grid", GRID),
    "ilids": lambda data: write_small(data / "i-LIDS_Pedestrian", "ilids", ILIDS),
}
"""Name -> a function that writes the set into a data directory, in its usual layout, and returns its root."""


def refusal(name: str, data: Path, **options: str) -> str:
    """Return what `load_dataset` says when it refuses the set `name` below `data`."""
    with pytest.raises(UserError) as caught:
        load_dataset(name, data, **options)
    return str(caught.value)
