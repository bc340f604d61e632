"""What a camera makes of a person: place, light, colour cast, blur, noise, and the crop of a detector."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from bench.data.standin.body import Part, Placement, View, part_map
from bench.data.standin.cloth import paint
from bench.data.standin.domains import DOMAINS, Optics
from bench.data.standin.people import COLOURS, Person, sample_person
from bench.data.standin.scenes import PANEL_HEIGHT, PANEL_WIDTH, panel

FRAME_HEIGHT = 192
"""Pictures are composed at this height and then brought to their native size."""

# What a generator is for; the last number of its seed, so that no two uses share a stream.
_PERSON, _CAMERA, _PICTURE, _CROP = 1, 2, 3, 4


class Shot(NamedTuple):
    """All that decides the pixels of one image, apart from the seed.

    `split` and `person` name the identity within the domain and `image` the picture of it. `camera` is from 0.
    `daytime` is 0, 1, 2 for morning, noon, afternoon. `crop` tells apart several crops of one picture (0 by a
    detector, 1 by hand). `failed` marks a false or badly misplaced detection.
    """

    domain: str
    split: int
    person: int
    image: int
    camera: int
    daytime: int = 1
    crop: int = 0
    failed: bool = False


@dataclass(frozen=True, eq=False)
class Camera:
    """The lasting properties of one camera; `curves` [3, 256] maps neutral to recorded grey levels."""

    surroundings: np.ndarray
    curves: np.ndarray
    blur: float
    noise: float
    quality: int
    views: tuple[float, ...]
    """Cumulative probabilities of the members of `View`."""
    reach: float
    """Mean size of persons in their crops."""
    sun: float
    """Side of the light, -1 from the left to 1 from the right."""


def generator_of(*key: int) -> np.random.Generator:
    """The generator of a picture, a camera or a person: its draws depend on nothing but the key."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def _curves(rng: np.random.Generator, optics: Optics) -> np.ndarray:
    """Colour cast, exposure and gamma as one table per channel."""
    gains = rng.uniform(*optics.gain, 3)
    # Bright scenes with a cast would clip a whole channel, and with it the garments' colours.
    gains = gains * min(rng.uniform(*optics.light), 1.3 / gains.max())
    grey = np.linspace(0.0, 1.0, 256)[None, :]
    contrast = rng.uniform(0.75, 1.1)
    haze = rng.uniform(0.0, 0.12)
    curve = np.clip(haze + contrast * gains[:, None] * grey, 0.0, 1.0) ** rng.uniform(*optics.gamma)
    return curve.astype(np.float32) * 255.0


@lru_cache(maxsize=64)
def camera_of(seed: int, domain_name: str, index: int) -> Camera:
    """Camera `index` (from 0) of a domain: always the same for the same seed."""
    domain = DOMAINS[domain_name]
    rng = generator_of(seed, domain.key, 0, index, 0, _CAMERA)
    return draw_camera(rng, domain.scenes[index % len(domain.scenes)], domain.ground, domain.optics)


def draw_camera(rng: np.random.Generator, scene: str, ground: tuple[str, ...], optics: Optics) -> Camera:
    """A camera before a scene (`scenes.panel`), its optics drawn from their ranges."""
    facing = rng.dirichlet([0.8] * len(View)) * 0.75 + 0.25 / len(View)
    return Camera(
        surroundings=panel(rng, scene, ground),
        curves=_curves(rng, optics),
        blur=float(rng.uniform(*optics.blur)),
        noise=float(rng.uniform(*optics.noise)),
        quality=int(rng.integers(optics.quality[0], optics.quality[1] + 1)),
        views=tuple(float(v) for v in np.cumsum(facing)),
        reach=float(rng.uniform(0.86, 0.98)),
        sun=float(rng.uniform(-1.0, 1.0)),
    )


@lru_cache(maxsize=1024)
def person_of(seed: int, domain_name: str, split: int, person: int) -> Person:
    """The identity `person` of one split of a domain: always the same for the same seed."""
    domain = DOMAINS[domain_name]
    return sample_person(generator_of(seed, domain.key, split, person, 0, _PERSON), domain.wardrobe)


def _placement(
    pose: np.random.Generator, crop: np.random.Generator, shot: Shot, camera: Camera, person: Person, width: int
) -> Placement:
    """A pose from the picture's generator and a position in the frame from the crop's."""
    domain = DOMAINS[shot.domain]
    view = View(min(int(np.searchsorted(camera.views, pose.random())), len(View) - 1))
    phase, arms, turn = pose.uniform(-1.0, 1.0), pose.random(), pose.uniform(0.85, 1.0)
    slack = domain.jitter * (0.5 if shot.crop else 1.0)
    size = camera.reach * person.height * crop.uniform(0.9, 1.08)
    shift_x, shift_y = crop.uniform(-slack, slack, 2)
    if shot.failed:
        size = crop.choice([0.45, 1.7, 2.2])
        shift_x, shift_y = crop.choice([-0.45, 0.45]), crop.uniform(-0.5, 0.5)
    scale = FRAME_HEIGHT * float(np.clip(size, 0.75, 1.1) if not shot.failed else size)
    return Placement(
        view=view,
        axis=width * (0.5 + float(shift_x)),
        crown=(FRAME_HEIGHT - scale) * 0.5 + float(shift_y) * FRAME_HEIGHT * 0.6,
        scale=scale,
        # Narrow frames are filled by the person as wide ones are: detectors crop to the body.
        squeeze=float(turn if view < View.LEFT else 1.0) * min(1.08, max(0.9, width / FRAME_HEIGHT / 0.42)),
        phase=float(phase),
        arms=float(arms),
    )


def _backdrop(rng: np.random.Generator, camera: Camera, width: int) -> np.ndarray:
    """A piece of the surroundings, float32 [FRAME_HEIGHT, width, 3], with its own brightness."""
    x = int(rng.integers(0, PANEL_WIDTH - width))
    y = int(rng.integers(0, PANEL_HEIGHT - FRAME_HEIGHT))
    piece = camera.surroundings[y : y + FRAME_HEIGHT, x : x + width]
    return piece * np.float32(rng.uniform(0.8, 1.2))


def surface_light(
    rng: np.random.Generator, height: int, width: int, axis: float, reach: float, sun: float
) -> np.ndarray:
    """Folds and the light from one side, as factors [height, width, 1], of what stands at `axis` and is 2 `reach` wide.

    All in pixels but `sun`, the side of the light, from -1 (left) to 1.
    """
    folds = Image.fromarray(rng.normal(1.0, 0.11, (14, 7)).astype(np.float32))
    folds = np.asarray(folds.resize((width, height), Image.Resampling.BICUBIC))
    across = (np.arange(width, dtype=np.float32) - axis) / reach
    return (folds * (1.0 + 0.2 * sun * np.clip(across, -1.0, 1.0)))[..., None]


def _add_person(rng: np.random.Generator, frame: np.ndarray, person: Person, place: Placement, sun: float) -> None:
    height, width = frame.shape[:2]
    parts = part_map(person, width, height, place)
    seen = parts != Part.NONE
    light = surface_light(rng, FRAME_HEIGHT, width, place.axis, 0.15 * place.scale, sun)
    frame[seen] = (paint(person, parts, place) * light)[seen]


def _add_passer_by(rng: np.random.Generator, frame: np.ndarray, shot: Shot, sun: float, front: bool) -> None:
    """Somebody else, cut by the edge of the crop when in front, smaller when behind."""
    height, width = frame.shape[:2]
    other = sample_person(rng, DOMAINS[shot.domain].wardrobe)
    scale = height * rng.uniform(0.95, 1.2) if front else height * rng.uniform(0.5, 0.8)
    edge = rng.uniform(0.0, 0.06) if front else rng.uniform(0.0, 0.25)
    axis = width * (edge if rng.random() < 0.5 else 1.0 - edge)
    crown = height * rng.uniform(0.05, 0.35) if front else height * rng.uniform(0.05, 0.2)
    view = View(int(rng.integers(len(View))))
    place = Placement(view, float(axis), float(crown), float(scale), 1.0, float(rng.uniform(-1, 1)), 0.3)
    _add_person(rng, frame, other, place, sun)


def add_obstacle(rng: np.random.Generator, frame: np.ndarray) -> None:
    """A post before what the picture shows, or something low that hides its lower end."""
    height, width = frame.shape[:2]
    names = ("grey", "charcoal", "beige", "olive", "silver", "brown", "red", "blue")
    colour = np.array(COLOURS[names[int(rng.integers(len(names)))]], np.float32) * rng.uniform(0.7, 1.1)
    if rng.random() < 0.4:
        thick = int(width * rng.uniform(0.07, 0.16))
        x = int(rng.uniform(0, width - thick))
        frame[int(height * rng.uniform(0, 0.3)) :, x : x + thick] = colour
    else:
        top = int(height * rng.uniform(0.62, 0.85))
        x = int(width * rng.uniform(-0.3, 0.4))
        frame[top:, max(x, 0) : max(x, 0) + int(width * rng.uniform(0.5, 1.0))] = colour
        frame[top : top + 3] *= np.float32(0.8)


def add_shadow(rng: np.random.Generator, frame: np.ndarray) -> None:
    """The edge of a shadow across the picture."""
    height = frame.shape[0]
    cut = int(height * rng.uniform(0.2, 0.8))
    factor = np.float32(rng.uniform(0.55, 0.8))
    if rng.random() < 0.5:
        frame[:cut] *= factor
    else:
        frame[cut:] *= factor


def expose(rng: np.random.Generator, frame: np.ndarray, camera: Camera, day: float = 0.0) -> np.ndarray:
    """Light and camera response: float 0-255 in neutral light to the recorded uint8, both [H, W, 3].

    `day` is the part of the day, from -1 (morning, cold light) to 1 (afternoon, warm).
    """
    light = rng.uniform(0.85, 1.15)
    warmth = rng.normal(0.0, 0.03)
    light *= 1.0 - 0.2 * abs(day)
    tone = np.array([1.0 + warmth + 0.1 * day, 1.0, 1.0 - warmth - 0.1 * day], np.float32) * np.float32(light)
    levels = np.clip(frame * tone, 0, 255).astype(np.uint8)
    recorded = np.stack([camera.curves[c][levels[..., c]] for c in range(3)], axis=-1)
    if camera.noise > 0:
        noise = rng.standard_normal(frame.shape[:2], dtype=np.float32)[..., None]
        recorded += noise * np.float32(camera.noise)
    return np.clip(recorded, 0, 255).astype(np.uint8)


def take(shot: Shot, seed: int) -> tuple[Image.Image, int]:
    """The picture of `shot` at its native size, and the JPEG quality of its camera."""
    domain = DOMAINS[shot.domain]
    camera = camera_of(seed, shot.domain, shot.camera)
    key = (seed, domain.key, shot.split, shot.person, shot.image)
    rng, crop = generator_of(*key, _PICTURE), generator_of(*key, _CROP + shot.crop)
    height = int(crop.integers(domain.height[0], domain.height[1] + 1))
    aspect = crop.uniform(*domain.aspect)
    width = round(FRAME_HEIGHT * aspect)

    frame = _backdrop(rng, camera, width)
    person = person_of(seed, shot.domain, shot.split, shot.person)
    place = _placement(rng, crop, shot, camera, person, width)
    chance = rng.random(3)
    if chance[0] < 0.15:
        _add_passer_by(rng, frame, shot, camera.sun, front=False)
    if not (shot.failed and crop.random() < 0.4):
        _add_person(rng, frame, person, place, camera.sun)
    if chance[1] < domain.occlusion * 0.5:
        _add_passer_by(rng, frame, shot, camera.sun, front=True)
    elif chance[1] < domain.occlusion:
        add_obstacle(rng, frame)
    if chance[2] < 0.15:
        add_shadow(rng, frame)
    image = Image.fromarray(expose(rng, frame, camera, domain.daylight * (shot.daytime - 1)))
    image = image.filter(ImageFilter.BoxBlur(camera.blur * float(rng.uniform(0.7, 1.4))))
    return image.resize((round(height * aspect), height), Image.Resampling.BILINEAR), camera.quality
