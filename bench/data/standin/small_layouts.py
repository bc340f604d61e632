"""File names, folders and counts of the small sets and of CUHK02 and CUHK-SYSU, with splits for the persons drawn."""

import io
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from bench.data.draw import SHIPPED_SEEDS, draw
from bench.data.readers import viper
from bench.data.readers.grid import PARTITIONS
from bench.data.splits import COMES_ALONG, written
from bench.data.standin.cameras import Shot
from bench.data.standin.domains import DOMAINS
from bench.data.standin.planned import DISTRACTORS, TEST, TRAIN, PlannedImage, SetPlan, cameras_of, spread

FULL = "full"
"""Has the persons of the real sets, for whom the suite ships splits; smaller sets come with splits of their own."""

VIPER_PERSONS = {"tiny": 8, "demo": 100, FULL: 632}
PRID_PERSONS = {"tiny": (8, 2, 6), "demo": (40, 30, 100), FULL: (200, 185, 549)}
"""In both views, in the first alone, in the second alone."""
PRID_FIRST_STRANGER = 201
GRID_PERSONS = {"tiny": (8, 6), "demo": (50, 150), FULL: (250, 775)}
"""In probe and gallery; strangers in the gallery."""
GRID_SEED = 5
"""Of the partitions that lie in the set: others than those that ship with the suite."""
ILIDS_PERSONS = {"tiny": 7, "demo": 49, FULL: 119}
ILIDS_IMAGES = (4, 2, 8, 3, 3, 4, 4)
"""Images of a person, over and over."""
CUHK02_PERSONS = {"tiny": (2, 1, 1, 1, 1), "demo": (12, 10, 10, 10, 10), FULL: (971, 306, 107, 193, 239)}
"""By pair of cameras."""
CUHKSYSU_COUNTS = {"tiny": (18, 6), "demo": (180, 60), FULL: (34_574, 11_934)}
"""Images and persons."""

_ANGLES = (0, 45, 90, 135, 180)


def _shot(domain: str, person: int, image: int, camera: int, split: int = TEST) -> Shot:
    return Shot(domain, split, person, image, camera)


def _splits(name: str, size: str, images: dict[int, list[str]]) -> tuple[tuple[str, bytes], ...]:
    """The file of splits of a set that has other persons than the real one."""
    if size == FULL:
        return ()
    splits = draw(name, images, SHIPPED_SEEDS[name], title=f"{name}, stand-in {size}")
    return ((COMES_ALONG, written(splits).encode()),)


def _viper(size: str) -> SetPlan:
    persons = viper.PERSONS[: VIPER_PERSONS[size]]
    images = []
    for place, person in enumerate(persons):
        for camera, view in enumerate(viper.VIEWS):
            angle = _ANGLES[(place + 2 * camera) % len(_ANGLES)]
            path = f"{view}/{person:03d}_{angle}.bmp"
            images.append(PlannedImage(path, person, view, _shot("viper", place, camera, camera)))
    return SetPlan("VIPeR", tuple(images), _splits("viper", size, {person: [] for person in persons}), (".",))


def _prid(size: str) -> SetPlan:
    both, first, second = PRID_PERSONS[size]
    images = []
    for camera, (view, strangers) in enumerate((("cam_a", first), ("cam_b", second))):
        people = [(number, _shot("prid", number, camera, camera)) for number in range(1, both + 1)]
        # Strangers of the two views share their numbers, not their looks.
        people += [
            (PRID_FIRST_STRANGER + place, _shot("prid", 2 * place + camera, 0, camera, DISTRACTORS))
            for place in range(strangers)
        ]
        images += [PlannedImage(f"single_shot/{view}/person_{who:04d}.png", who, view, shot) for who, shot in people]
    splits = _splits("prid", size, {person: [] for person in range(1, both + 1)})
    files = tuple((f"single_shot/{path}", content) for path, content in splits)
    return SetPlan("prid_2011", tuple(images), files, (".",))


def _grid(size: str) -> SetPlan:
    pairs, strangers = GRID_PERSONS[size]
    images = []
    for person in range(1, pairs + 1):
        for image, (part, camera) in enumerate(
            zip(("probe", "gallery"), cameras_of("grid", TEST, person, 2), strict=False)
        ):
            path = f"{part}/{_grid_name(person, camera, person)}"
            images.append(PlannedImage(path, person, part, _shot("grid", person, image, camera)))
    for stranger in range(strangers):
        camera = stranger % DOMAINS["grid"].cameras
        path = f"gallery/{_grid_name(0, camera, stranger)}"
        images.append(PlannedImage(path, 0, "gallery", _shot("grid", stranger, 0, camera, DISTRACTORS)))
    drawn = draw("grid", {person: [] for person in range(1, pairs + 1)}, GRID_SEED)
    partitions = _matlab([split.train for split in drawn.splits])
    return SetPlan("underground_reid", tuple(images), ((PARTITIONS, partitions),), (".",))


def _grid_name(person: int, camera: int, count: int) -> str:
    return f"{person:04d}_{camera + 1}_{25_000 + 4 * count}_{100 + count % 60}_{30 + count % 9}_106_221.jpeg"


def _matlab(partitions: Sequence[list[int]]) -> bytes:
    """Partitions in the form of the real set's file, which holds much else besides."""
    # Late: this alone needs it, and it takes a moment to import.
    from scipy.io import savemat

    cells = np.empty((1, len(partitions)), dtype=object)
    for number, persons in enumerate(partitions):
        cells[0, number] = {"fold": number + 1, "count": len(persons), "persons": np.array([persons], np.uint8)}
    file = io.BytesIO()
    savemat(file, {"trainIdxAll": cells})
    # The first 116 bytes are a remark, with the time of day.
    return b"MATLAB 5.0 MAT-file, stand-in data".ljust(116) + file.getvalue()[116:]


def _ilids(size: str) -> SetPlan:
    images = []
    names: dict[int, list[str]] = {}
    for person, many in zip(range(1, ILIDS_PERSONS[size] + 1), itertools.cycle(ILIDS_IMAGES), strict=False):
        cameras = cameras_of("ilids", TEST, person, 2)
        names[person] = [f"{person:04d}{image + 1:03d}.jpg" for image in range(many)]
        images += [
            PlannedImage(f"Persons/{name}", person, "Persons", _shot("ilids", person, image, cameras[image % 2]))
            for image, name in enumerate(names[person])
        ]
    return SetPlan("i-LIDS_Pedestrian", tuple(images), _splits("ilids", size, names), (".",))


def _cuhk02(size: str) -> SetPlan:
    images = []
    for pair, persons in enumerate(CUHK02_PERSONS[size]):
        for person, side, image in itertools.product(range(1, persons + 1), range(2), range(2)):
            path = f"P{pair + 1}/cam{side + 1}/{person:03d}_{2 * side + image + 1}.png"
            shot = _shot("cuhk02", 1000 * pair + person, 2 * side + image, 2 * pair + side, TRAIN)
            images.append(PlannedImage(f"Dataset/{path}", person, "train", shot))
    return SetPlan("cuhk02", tuple(images), (), (".",))


def _cuhksysu(size: str) -> SetPlan:
    images = []
    scenes = DOMAINS["cuhksysu"].cameras
    for person, many in enumerate(spread(*CUHKSYSU_COUNTS[size]), start=1):
        for image in range(many):
            path = f"cropped_images/p{person}_s{7 * person + image}_{image + 1}.jpg"
            shot = _shot("cuhksysu", person, image, (7 * person + image) % scenes, TRAIN)
            images.append(PlannedImage(path, person, "train", shot))
    return SetPlan("cuhksysu", tuple(images), (), (".",))


PLANS: dict[str, Callable[[str], SetPlan]] = {
    "viper": _viper,
    "prid": _prid,
    "grid": _grid,
    "ilids": _ilids,
    "cuhk02": _cuhk02,
    "cuhksysu": _cuhksysu,
}
