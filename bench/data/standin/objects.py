"""Things that are no persons, under cameras of their own: what the backbone of the small presets learns from first.

A kind of thing is the class to be told: a sheet of one material, or a few shapes on one another, each of a material of
its own. Kinds come in families that share all shapes and differ in a material or two, so that a place in the picture
has to be looked at, not the mean of all colours alone. Cameras, scenes and kinds are drawn from a stream
that no person, camera or scene of the stand-in sets is drawn from; how a camera records (cast, blur, noise, shadow,
obstacles) is as for these sets.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bench.data.standin.cameras import (
    Camera,
    add_obstacle,
    add_shadow,
    draw_camera,
    expose,
    generator_of,
    surface_light,
)
from bench.data.standin.cloth import pattern_of
from bench.data.standin.domains import Optics
from bench.data.standin.people import COLOURS, Colour, contrasting, pick, shade_of
from bench.data.standin.scenes import PANEL_HEIGHT, PANEL_WIDTH

FRAME_HEIGHT, FRAME_WIDTH = 96, 48
"""Pictures are composed at this size, half of that of persons, and then brought to what is asked for."""
CAMERAS = 24
FAMILY = 5
"""Kinds that share their shapes."""
SHEETS = 4
"""Of so many families one is of sheets."""

_WORLD = 1000
"""In the place of a domain's key, of which the largest is far below: the stream of things."""
_KIND, _CAMERA, _PICTURE = 1, 2, 3
_SCENES = ("corridor", "wall", "shop", "foliage", "street")
_GROUND = ("grey", "silver", "charcoal", "beige", "brown", "olive")
_OPTICS = Optics((0.75, 1.3), (0.6, 1.3), (0.75, 1.35), (0.2, 1.4), (2, 8), (85, 90))
_EVEN = dict.fromkeys(COLOURS, 1.0)
_PATTERNS = {"plain": 0.4, "hstripes": 0.14, "vstripes": 0.14, "checks": 0.16, "dots": 0.16}

Outline = tuple[tuple[float, float], ...]
"""Corners (x, y), each from -1 to 1."""


@dataclass(frozen=True)
class Material:
    """A colour, or two in a pattern; `period` in half widths of the thing, `turn` in radians."""

    colour: Colour
    second: Colour
    pattern: str
    period: float
    turn: float


@dataclass(frozen=True)
class Part:
    """A shape of a thing: where it is, in half widths and half heights of the thing, and of what."""

    outline: Outline
    material: Material


@dataclass(frozen=True)
class Kind:
    """What all pictures of a class show. `tall` is height over width; a sheet fills the picture."""

    parts: tuple[Part, ...]
    tall: float
    sheet: bool


def _material(rng: np.random.Generator) -> Material:
    colour = shade_of(rng, pick(rng, _EVEN), 1.0)
    return Material(
        colour=colour,
        second=contrasting(rng, colour, _EVEN, 1.0),
        pattern=pick(rng, _PATTERNS),
        period=float(rng.choice([0.2, 0.3, 0.45])),
        turn=float(rng.choice([0.0, 0.0, 0.8])),
    )


def _outline(rng: np.random.Generator) -> Outline:
    """A rectangle, trapezium, ellipse, regular polygon, star or cross of half width 1."""
    sort = int(rng.integers(6))
    if sort == 0:
        return ((-1, -1), (1, -1), (1, 1), (-1, 1))
    if sort == 1:
        top = float(rng.uniform(0.2, 0.8))
        corners = ((-top, -1), (top, -1), (1, 1), (-1, 1))
        return corners if rng.random() < 0.5 else tuple((x, -y) for x, y in corners)
    if sort == 5:
        arm = float(rng.uniform(0.25, 0.45))
        return tuple(
            (sx * x, sy * y)
            for sx, sy, path in ((1, -1, 0), (1, 1, 1), (-1, 1, 0), (-1, -1, 1))
            for x, y in (((arm, 1), (arm, arm), (1, arm)), ((1, arm), (arm, arm), (arm, 1)))[path]
        )
    corners = {2: 20, 3: int(rng.integers(3, 7)), 4: 2 * int(rng.integers(4, 7))}[sort]
    inner = float(rng.uniform(0.45, 0.65)) if sort == 4 else 1.0
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) - np.pi / 2
    reach = np.where(np.arange(corners) % 2, inner, 1.0)
    return tuple((float(x), float(y)) for x, y in zip(np.cos(angles) * reach, np.sin(angles) * reach, strict=True))


def _placed(outline: Outline, x: float, y: float, half_width: float, half_height: float) -> Outline:
    return tuple((x + u * half_width, y + v * half_height) for u, v in outline)


def _outlines(rng: np.random.Generator) -> list[Outline]:
    """Two to four shapes stacked from the top down, and up to two smaller ones on them."""
    shares = rng.dirichlet([4.0] * int(rng.integers(2, 5)))
    outlines, top = [], -1.0
    for share in shares:
        half = float(share)
        shape = _outline(rng)
        outlines.append(_placed(shape, 0.0, top + half, float(rng.uniform(0.45, 1.0)), half * 1.08))
        top += 2 * half
    for _ in range(int(rng.integers(0, 3))):
        x, y = rng.uniform(-0.5, 0.5), rng.uniform(-0.8, 0.8)
        outlines.append(_placed(_outline(rng), float(x), float(y), *map(float, rng.uniform(0.15, 0.35, 2))))
    return outlines


@lru_cache(maxsize=4096)
def kind_of(number: int) -> Kind:
    """The kind of a number, from 0: always the same."""
    family, member = divmod(number, FAMILY)
    shared = generator_of(_WORLD, family, 0, 0, _KIND)
    own = generator_of(_WORLD, family, 1 + member, 0, _KIND)
    if family % SHEETS == 0:
        sheet = _placed(((-1, -1), (1, -1), (1, 1), (-1, 1)), 0.0, 0.0, 4.0, 4.0)
        return Kind((Part(sheet, _material(own)),), 1.6, True)
    tall = float(shared.uniform(0.8, 2.4))
    parts = [Part(outline, _material(shared)) for outline in _outlines(shared)]
    for place in own.choice(len(parts), size=int(own.integers(1, 3)), replace=False):
        parts[place] = Part(parts[place].outline, _material(own))
    return Kind(tuple(parts), tall, False)


@lru_cache(maxsize=CAMERAS)
def _camera(index: int) -> tuple[Camera, np.ndarray]:
    """A camera, and its surroundings at half their size."""
    rng = generator_of(_WORLD, index, 0, 0, _CAMERA)
    camera = draw_camera(rng, _SCENES[index % len(_SCENES)], _GROUND, _OPTICS)
    return camera, np.asarray(Image.fromarray(camera.surroundings).reduce(2))


@dataclass(frozen=True)
class _Place:
    """Where a thing is in a frame: its centre and half sizes in pixels, how far it is turned, and whether mirrored."""

    x: float
    y: float
    half_width: float
    half_height: float
    turn: float
    mirror: float

    def corners(self, outline: Outline) -> list[tuple[float, float]]:
        cos, sin = float(np.cos(self.turn)), float(np.sin(self.turn))
        found = []
        for u, v in outline:
            dx, dy = u * self.mirror * self.half_width, v * self.half_height
            found.append((self.x + cos * dx - sin * dy, self.y + sin * dx + cos * dy))
        return found

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each pixel of the frame, x and y in half widths of the thing, float32 [FRAME_HEIGHT, FRAME_WIDTH]."""
        x = np.arange(FRAME_WIDTH, dtype=np.float32)[None, :] - np.float32(self.x)
        y = np.arange(FRAME_HEIGHT, dtype=np.float32)[:, None] - np.float32(self.y)
        cos, sin = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        scale = np.float32(self.half_width)
        return (cos * x + sin * y) * np.float32(self.mirror) / scale, (cos * y - sin * x) / scale


def _place(rng: np.random.Generator, kind: Kind) -> _Place:
    half = FRAME_HEIGHT / 2 * rng.uniform(0.62, 0.98)
    width = min(half / kind.tall, FRAME_WIDTH / 2 * 0.95) * rng.uniform(0.85, 1.1)
    half = min(half, width * kind.tall * 1.1)
    sizes = ((FRAME_WIDTH, width), (FRAME_HEIGHT, half))
    slack_x, slack_y = (max(size / 2 - reach, size * 0.06) for size, reach in sizes)
    return _Place(
        x=float(FRAME_WIDTH / 2 + rng.uniform(-0.8, 0.8) * slack_x),
        y=float(FRAME_HEIGHT / 2 + rng.uniform(-0.8, 0.8) * slack_y),
        half_width=float(width),
        half_height=float(half),
        turn=float(rng.normal(0.0, 0.12)),
        mirror=float(rng.choice([-1.0, 1.0])),
    )


def _draw(frame: np.ndarray, kind: Kind, place: _Place, light: np.ndarray) -> None:
    labels = Image.new("L", (FRAME_WIDTH, FRAME_HEIGHT), 0)
    draw = ImageDraw.Draw(labels)
    for number, part in enumerate(kind.parts, start=1):
        draw.polygon(place.corners(part.outline), fill=number)
    seen, (x, y) = np.asarray(labels), place.grid()
    for number, part in enumerate(kind.parts, start=1):
        here = seen == number
        if not here.any():
            continue
        material = part.material
        colours = np.broadcast_to(np.array(material.colour, np.float32), frame.shape)
        if material.pattern != "plain":
            cos, sin = np.float32(np.cos(material.turn)), np.float32(np.sin(material.turn))
            where = pattern_of(material.pattern, cos * x + sin * y, cos * y - sin * x, material.period)
            colours = np.where(where[..., None], np.array(material.second, np.float32), colours)
        frame[here] = (colours * light)[here]


def picture(kind: int, number: int, height: int, width: int) -> np.ndarray:
    """Picture `number` of a kind, uint8 [3, height, width]; the same numbers give the same picture."""
    shown = kind_of(kind)
    rng = generator_of(_WORLD, kind, 0, number, _PICTURE)
    camera, surroundings = _camera(int(rng.integers(CAMERAS)))
    left = int(rng.integers(0, PANEL_WIDTH // 2 - FRAME_WIDTH))
    top = int(rng.integers(0, PANEL_HEIGHT // 2 - FRAME_HEIGHT))
    frame = surroundings[top : top + FRAME_HEIGHT, left : left + FRAME_WIDTH] * np.float32(rng.uniform(0.8, 1.2))
    place = _place(rng, shown)
    light = surface_light(rng, FRAME_HEIGHT, FRAME_WIDTH, place.x, place.half_width, camera.sun)
    _draw(frame, shown, place, light)
    chance = rng.random(2)
    if chance[0] < 0.12:
        add_obstacle(rng, frame)
    if chance[1] < 0.15:
        add_shadow(rng, frame)
    image = Image.fromarray(expose(rng, frame, camera))
    image = image.filter(ImageFilter.BoxBlur(camera.blur / 2 * float(rng.uniform(0.7, 1.4))))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def pictures(kinds: Iterable[int], first: int, height: int, width: int) -> np.ndarray:
    """A picture of each of the kinds [B], numbered from `first` on, uint8 [B, 3, height, width]."""
    return np.stack([picture(int(kind), number, height, width) for number, kind in enumerate(kinds, first)])
