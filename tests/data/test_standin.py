"""Stand-in data: the published names and counts, the same bytes every time, and never mixed with real data."""

import hashlib
import json
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.dataset import STANDIN_MARKER
from bench.data.standin import write, write_standin
from bench.data.standin.cameras import Shot, take
from bench.data.standin.layouts import SETS, SIZES, Counts, PlannedImage, SetPlan
from bench.data.standin.layouts import plan as make_plan
from bench.errors import UserError

MARKET = "Market-1501-v15.09.15"
LARGE = ("market", "cuhk03", "msmt", "randperson")
FOLDERS = {
    "market": MARKET,
    "cuhk03": "cuhk03-np",
    "msmt": "MSMT17_V1",
    "randperson": "randperson",
    "viper": "VIPeR",
    "prid": "prid_2011",
    "grid": "underground_reid",
    "ilids": "i-LIDS_Pedestrian",
    "cuhk02": "cuhk02",
    "cuhksysu": "cuhksysu",
}
NAMES = {
    "market": r"(bounding_box_train|bounding_box_test|query)/(-1|\d{4})_c[1-6]s[1-6]_\d{6}_\d\d\.jpg",
    "cuhk03": r"(detected|labeled)/(bounding_box_train|bounding_box_test|query)/\d{4}_c[12]_\d+\.png",
    "msmt": r"(train|test)/(\d{4})/\2_\d{3}_(0[1-9]|1[0-5])_03\d\d(morning|noon|afternoon)_\d{4}_\d(_ex)?\.jpg",
    "randperson": r"randperson_subset/\d{6}_s(0\d|10)_c0[0-3]_f\d{6}\.jpg",
    "viper": r"cam_[ab]/\d{3}_(0|45|90|135|180)\.bmp",
    "prid": r"single_shot/cam_[ab]/person_0\d{3}\.png",
    "grid": r"(probe|gallery)/\d{4}_[1-6]_\d{5}_\d+_\d+_106_221\.jpeg",
    "ilids": r"Persons/0\d{3}00[1-8]\.jpg",
    "cuhk02": r"Dataset/P[1-5]/cam[12]/\d{3}_[1-4]\.png",
    "cuhksysu": r"cropped_images/p\d{1,5}_s\d+_\d\.jpg",
}


SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")

plan = lru_cache(make_plan)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "standin-tiny"
    write_standin(root, "tiny", workers=1)
    return root


def digests(root: Path) -> dict[str, str]:
    """The content of every file below `root`, leaving out the lock."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def parts(images: tuple[PlannedImage, ...]) -> dict[str, list[PlannedImage]]:
    found: dict[str, list[PlannedImage]] = {"train": [], "val": [], "query": [], "gallery": []}
    for image in images:
        found[image.part].append(image)
    return found


def halves(name: str, size: str) -> list[tuple[str, tuple[PlannedImage, ...]]]:
    """A set as its one test protocol, CUHK03-NP as its two."""
    images = plan(name, size).images
    if name != "cuhk03":
        return [(name, images)]
    return [(half, tuple(i for i in images if i.path.startswith(half))) for half in ("detected", "labeled")]


def counted(images: tuple[PlannedImage, ...]) -> Counts:
    """What a plan holds, counted from its labels and not from what it was made of."""
    by_part = parts(images)
    train, query = by_part["train"] + by_part["val"], by_part["query"]
    gallery = [i for i in by_part["gallery"] if i.shot.split == 1]
    persons = {i.person for i in gallery}
    assert {i.person for i in query} == persons
    others = Counter(i.person for i in by_part["gallery"] if i.shot.split != 1)
    return Counts(
        train=len(train),
        train_persons=len({i.person for i in train}),
        query=len(query),
        gallery=len(gallery),
        test_persons=len(persons),
        distractors=others[0],
        junk=others[-1],
        val=len(by_part["val"]),
    )


@pytest.mark.slow
def test_full_has_the_published_counts():
    found = {half: counted(images) for name in LARGE for half, images in halves(name, "full")}
    assert found == {
        "market": Counts(12_936, 751, 3_368, 13_115, 750, distractors=2_798, junk=3_819),
        "detected": Counts(7_365, 767, 1_400, 5_332, 700),
        "labeled": Counts(7_368, 767, 1_400, 5_328, 700),
        "msmt": Counts(32_621, 1_041, 11_659, 82_161, 3_060, val=2_373),
        "randperson": Counts(132_145, 8_000),
    }


@pytest.mark.slow
def test_full_and_demo_use_all_cameras():
    for size in ("demo", "full"):
        cameras = {name: {i.shot.camera for i in plan(name, size).images} for name in LARGE}
        assert {name: (min(c), max(c), len(c)) for name, c in cameras.items()} == {
            "market": (0, 5, 6), "cuhk03": (0, 1, 2), "msmt": (0, 14, 15), "randperson": (0, 18, 19)}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("size", SIZES)
def test_names_follow_the_real_sets_and_occur_once(name: str, size: str):
    images = plan(name, size).images
    assert not [i.path for i in images if not re.fullmatch(NAMES[name], i.path)]
    assert len({i.path for i in images}) == len(images)


def test_randperson_numbers_its_cameras_by_scene():
    offsets = [0, 2, 4, 6, 8, 9, 10, 12, 13, 14, 15]
    for image in plan("randperson", "demo").images:
        scene, camera = re.search(r"_s(\d\d)_c(\d\d)_", image.path).groups()
        assert offsets[int(scene)] + int(camera) == image.shot.camera


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["market", "cuhk03", "msmt"])
def test_every_query_has_a_match_in_another_camera(name: str, size: str):
    for _, images in halves(name, size):
        by_part = parts(images)
        seen_by: dict[int, set[int]] = {}
        for image in by_part["gallery"]:
            seen_by.setdefault(image.person, set()).add(image.shot.camera)
        assert all(seen_by[q.person] - {q.shot.camera} for q in by_part["query"])
        assert all(q.person > (-1 if name == "msmt" else 0) for q in by_part["query"])


def test_demo_has_test_sets_worth_ranking():
    for name in ("market", "cuhk03", "msmt"):
        half, images = halves(name, "demo")[0]
        counts = counted(images)
        assert counts.test_persons >= 100 and counts.gallery >= 1000 and 120 <= counts.query <= 140, half
    assert sum(len(plan(name, "demo").images) for name in LARGE) <= 7100
    assert sum(len(plan(name, "demo").images) for name in {*SETS} - {*LARGE}) <= 1300


def test_sizes_share_no_person_between_train_and_test():
    for name in LARGE:
        identities = {(i.shot.split, i.shot.person, i.part in ("train", "val")) for i in plan(name, "demo").images}
        assert not [key for key in identities if (key[0] == 0) != key[2]]


def test_tiny_is_written_as_planned(tiny: Path):
    for name in SETS:
        planned: SetPlan = plan(name, "tiny")
        assert planned.folder == FOLDERS[name]
        there = {
            str(p.relative_to(tiny / planned.folder))
            for p in (tiny / planned.folder).rglob("*")
            if p.suffix in SUFFIXES
        }
        assert there == {image.path for image in planned.images}


def test_pictures_have_the_real_sets_sizes_and_formats(tiny: Path):
    ranges = {"market": (128, 128), "cuhk03": (150, 300), "msmt": (200, 420), "randperson": (200, 320)}
    for name, (low, high) in ranges.items():
        for path in sorted((tiny / FOLDERS[name]).rglob("*.[jp][pn]g"))[:12]:
            with Image.open(path) as image:
                image.load()
                assert (image.format, image.mode) == ("PNG" if path.suffix == ".png" else "JPEG", "RGB")
                assert low <= image.height <= high and 0.3 < image.width / image.height <= 0.5
                assert name != "market" or image.size == (64, 128)


def test_msmt_lists_name_the_files_and_test_persons_start_at_0_again(tiny: Path):
    root = tiny / "MSMT17_V1"
    for part, folder in (("train", "train"), ("val", "train"), ("query", "test"), ("gallery", "test")):
        lines = [line.split() for line in (root / f"list_{part}.txt").read_text().splitlines()]
        assert lines and all((root / folder / path).is_file() for path, _ in lines)
        assert {int(person) for _, person in lines} == set(range(6))


def test_every_set_says_that_it_is_generated(tiny: Path):
    folders = [tiny, *(tiny / folder for folder in FOLDERS.values())]
    for folder in [*folders, tiny / "cuhk03-np/detected", tiny / "cuhk03-np/labeled"]:
        marker = json.loads((folder / STANDIN_MARKER).read_text())
        assert (marker["size"], marker["seed"], marker["version"]) == ("tiny", 0, write.VERSION)
        assert "stand-in" in marker["note"]


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(tiny: Path, tmp_path: Path):
    write_standin(tmp_path / "two", "tiny", workers=2)
    assert digests(tmp_path / "two") == digests(tiny)


def test_another_seed_draws_other_pictures(tiny: Path, tmp_path: Path):
    write_standin(tmp_path / "other", "tiny", seed=1, sets=["market"], workers=1)
    there, here = digests(tmp_path / "other" / MARKET), digests(tiny / MARKET)
    assert there.keys() == here.keys()
    assert not [path for path in here if here[path] == there[path]]


def test_no_two_pictures_are_the_same(tiny: Path):
    images = [value for path, value in digests(tiny).items() if Path(path).suffix in SUFFIXES]
    assert len(set(images)) == len(images)


@pytest.mark.slow
def test_persons_can_be_told_apart_across_cameras():
    """Light, place and pose averaged out, most persons are most like themselves; a few do wear nearly the same."""

    def mean_picture(person: int, images: range) -> np.ndarray:
        pictures = [take(Shot("msmt", 0, person, i, i % 15), 0)[0].resize((8, 16)) for i in images]
        return np.mean([np.asarray(picture, float)[3:14, 2:6] for picture in pictures], axis=0).ravel()

    first, second = (np.array([mean_picture(p, r) for p in range(12)]) for r in (range(15), range(15, 30)))
    nearest = np.linalg.norm(first[:, None] - second[None], axis=-1).argmin(axis=1)
    assert (nearest == np.arange(12)).sum() >= 9


def test_a_second_call_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert write_standin(tmp_path, "tiny", sets=["randperson"]) == {"randperson": 36}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    assert write_standin(tmp_path, "tiny", sets=["randperson"], progress=True) == {"randperson": 0}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")} == before
    assert "nothing to do" in capsys.readouterr().err


def test_missing_sets_are_added(tmp_path: Path):
    write_standin(tmp_path, "tiny", sets=["randperson"])
    assert write_standin(tmp_path, "tiny", sets=["randperson", "market"]) == {"randperson": 0, "market": 74}


def test_a_folder_of_another_origin_is_left_alone(tmp_path: Path):
    (tmp_path / MARKET / "query").mkdir(parents=True)
    (tmp_path / MARKET / "query" / "0002_c1s1_000451_03.jpg").write_bytes(b"a real picture")
    with pytest.raises(UserError, match=rf"{MARKET}.*no {STANDIN_MARKER}.*another folder"):
        write_standin(tmp_path, "tiny")
    assert list(digests(tmp_path)) == [f"{MARKET}/query/0002_c1s1_000451_03.jpg"]


def test_a_root_with_other_things_in_it_is_refused(tmp_path: Path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UserError, match=r"thesis.*choose an empty or new folder"):
        write_standin(tmp_path, "tiny")


@pytest.mark.parametrize(("size", "seed"), [("demo", 0), ("tiny", 1)])
def test_other_settings_never_replace_what_is_there(tmp_path: Path, size: str, seed: int):
    write_standin(tmp_path, "tiny", sets=["randperson"])
    with pytest.raises(UserError, match=rf"size tiny, seed 0.*asked for is size {size}, seed {seed}"):
        write_standin(tmp_path, size, seed=seed, sets=["market"])


def test_an_interrupted_call_is_noticed_and_drawn_anew(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "_draw_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_standin(tmp_path, "tiny", sets=["market"])
    assert not (tmp_path / MARKET).exists() and not (tmp_path / STANDIN_MARKER).exists()
    [draft] = (path for path in tmp_path.iterdir() if path.is_dir())
    (draft / "query" / "half.jpg").write_bytes(b"half a picture")
    assert write_standin(tmp_path, "tiny", sets=["market"]) == {"market": 74}
    assert digests(tmp_path / MARKET) == digests(tiny / MARKET)
    assert not draft.exists()


@pytest.mark.parametrize(
    ("wrong", "valid"),
    [({"size": "huge"}, "tiny, demo, full"), ({"sets": ["duke"]}, "market, cuhk03, msmt, randperson")],
)
def test_wrong_use_lists_what_is_valid(tmp_path: Path, wrong: dict, valid: str):
    with pytest.raises(UserError, match=valid):
        write_standin(tmp_path, **{"size": "tiny", **wrong})
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write stand-in data below .*file"):
        write_standin(tmp_path / "file" / "data", "tiny")


def test_images_that_are_gone_are_noticed(tmp_path):
    write_standin(tmp_path, "tiny", sets=["market"], workers=1)
    victim = next((tmp_path / "Market-1501-v15.09.15").rglob("*.jpg"))
    victim.unlink()
    with pytest.raises(UserError, match=rf"1 of \d+ images .* are gone, .*{victim.name}.*delete that folder"):
        write_standin(tmp_path, "tiny", sets=["market"], workers=1)
