"""Where the parts of a person are in a picture: body, garments and bags, by view and pose."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from PIL import Image, ImageDraw

from bench.data.standin.people import Lower, Person, Upper

Point = tuple[float, float]
"""(x, y) in body heights: x from the body's axis, positive to the right of the picture; y from the crown down."""


class Part(IntEnum):
    """Labels of the part map. 0 is where the background shows."""

    NONE = 0
    SKIN = 1
    FACE = 2
    HAIR = 3
    HAT = 4
    TORSO = 5
    SLEEVE = 6
    INNER = 7
    PRINT = 8
    LEG = 9
    FAR_LEG = 10
    SHOES = 11
    BAG = 12
    TRIM = 13
    FAR_SKIN = 14
    SKIRT = 15


class View(IntEnum):
    """Which side of the person the camera sees; LEFT and RIGHT are where the person walks to in the picture."""

    FRONT = 0
    BACK = 1
    LEFT = 2
    RIGHT = 3


@dataclass(frozen=True)
class Placement:
    """Where and how a person stands in a frame.

    `axis` and `crown` are pixels (x of the body's axis, y of the crown), `scale` pixels per body height, `squeeze`
    the horizontal stretch (1 = none), `phase` the point in a stride (-1 to 1), `arms` how far they swing (0 to 1).
    """

    view: View
    axis: float
    crown: float
    scale: float
    squeeze: float
    phase: float
    arms: float


class _Sketch:
    """A part map being drawn in body coordinates."""

    def __init__(self, width: int, height: int, place: Placement) -> None:
        self.image = Image.new("L", (width, height), 0)
        self._draw = ImageDraw.Draw(self.image)
        self._x0, self._y0 = place.axis, place.crown
        self._sx, self._sy = place.scale * place.squeeze, place.scale

    def _pixels(self, points: list[Point]) -> list[Point]:
        return [(self._x0 + x * self._sx, self._y0 + y * self._sy) for x, y in points]

    def polygon(self, points: list[Point], part: Part) -> None:
        self._draw.polygon(self._pixels(points), fill=int(part))

    def ellipse(self, centre: Point, rx: float, ry: float, part: Part) -> None:
        (x, y) = centre
        (left, top), (right, bottom) = self._pixels([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse((left, top, right, bottom), fill=int(part))

    def limb(self, start: Point, end: Point, w0: float, w1: float, part: Part) -> None:
        """A tapering bar with half widths `w0` and `w1`."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = max((dx * dx + dy * dy) ** 0.5, 1e-6)
        nx, ny = -dy / length, dx / length
        self.polygon(
            [
                (start[0] + nx * w0, start[1] + ny * w0),
                (end[0] + nx * w1, end[1] + ny * w1),
                (end[0] - nx * w1, end[1] - ny * w1),
                (start[0] - nx * w0, start[1] - ny * w0),
            ],
            part,
        )


def _along(start: Point, end: Point, share: float) -> Point:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _leg(sketch: _Sketch, hip: Point, foot: Point, lower: Lower, width: float, far: bool, toe: float) -> None:
    """One leg: bare skin, the trouser leg down to its hem, the shoe. `toe` is where the shoe points, in x."""
    knee = _along(hip, foot, 0.5)
    skin = Part.FAR_SKIN if far else Part.SKIN
    sketch.limb(hip, foot, 0.042 * width, 0.026 * width, skin)
    if lower.kind != "skirt":
        cloth = Part.FAR_LEG if far else Part.LEG
        share = np.clip((lower.hem - hip[1]) / (foot[1] - hip[1]), 0.0, 1.0)
        sketch.limb(hip, _along(hip, foot, min(share, 0.5)), 0.058 * width, 0.05 * width, cloth)
        if share > 0.5:
            sketch.limb(knee, _along(hip, foot, float(share)), 0.05 * width, 0.04 * width, cloth)
    sketch.ellipse((foot[0] + toe * 0.5, foot[1] - 0.004), 0.032 + abs(toe) * 0.5, 0.022, Part.SHOES)


def _arm(sketch: _Sketch, shoulder: Point, hand: Point, out: float, upper: Upper, width: float) -> None:
    """One arm bent at the elbow, its sleeve as far as it reaches."""
    middle = _along(shoulder, hand, 0.5)
    elbow = (middle[0] + out, middle[1])
    sketch.limb(shoulder, elbow, 0.03 * width, 0.024 * width, Part.SKIN)
    sketch.limb(elbow, hand, 0.024 * width, 0.018 * width, Part.SKIN)
    sketch.ellipse(hand, 0.022, 0.026, Part.SKIN)
    if upper.sleeve <= 0.0:
        return
    first = min(upper.sleeve * 2.0, 1.0)
    sketch.ellipse(shoulder, 0.04 * width, 0.036, Part.SLEEVE)
    sketch.limb(shoulder, _along(shoulder, elbow, first), 0.041 * width, 0.036 * width, Part.SLEEVE)
    if upper.sleeve > 0.5:
        rest = (upper.sleeve - 0.5) * 2.0
        sketch.ellipse(elbow, 0.035 * width, 0.035 * width, Part.SLEEVE)
        sketch.limb(elbow, _along(elbow, hand, rest * 0.95), 0.035 * width, 0.028 * width, Part.SLEEVE)


def _skirt(sketch: _Sketch, lower: Lower, half: float) -> None:
    if lower.kind == "skirt":
        flare = half * 1.1 + (lower.hem - 0.5) * 0.16
        sketch.polygon([(-half, 0.46), (half, 0.46), (flare, lower.hem), (-flare, lower.hem)], Part.SKIRT)


def _loose_hair(sketch: _Sketch, ahead: float, end: float) -> None:
    """Hair down to `end`, seen from the front as a strand at each side of the neck, from the side behind it."""
    for side in (-ahead,) if ahead else (-1.0, 1.0):
        sketch.polygon([(side * 0.05, 0.06), (side * 0.062, end), (side * 0.03, end), (side * 0.008, 0.06)], Part.HAIR)


def _head(sketch: _Sketch, person: Person, view: View) -> None:
    """Neck, hair, face and hat. `ahead` is the side of the picture the face is turned to."""
    ahead = {View.LEFT: -1.0, View.RIGHT: 1.0}.get(view, 0.0)
    style = person.hair_style
    if view is not View.BACK:
        if style in ("long", "bob"):
            _loose_hair(sketch, ahead, 0.24 if style == "long" else 0.15)
        sketch.polygon([(-0.026, 0.1), (0.026, 0.1), (0.034, 0.172), (-0.034, 0.172)], Part.SKIN)
    if style == "bald":
        sketch.ellipse((0, 0.068), 0.045, 0.066, Part.SKIN)
    else:
        sketch.ellipse((-ahead * 0.006, 0.062), 0.05, 0.06, Part.HAIR)
    if view is View.BACK:
        sketch.polygon([(-0.026, 0.1), (0.026, 0.1), (0.034, 0.172), (-0.034, 0.172)], Part.SKIN)
        if style in ("long", "bob"):
            end = 0.25 if style == "long" else 0.155
            sketch.polygon([(-0.05, 0.06), (0.05, 0.06), (0.058, end), (-0.058, end)], Part.HAIR)
        elif style == "tail":
            sketch.limb((0, 0.08), (0.008, 0.24), 0.022, 0.014, Part.HAIR)
        elif style == "short":
            sketch.ellipse((0, 0.08), 0.046, 0.05, Part.HAIR)
    else:
        sketch.ellipse((ahead * 0.014, 0.086), 0.036 - abs(ahead) * 0.004, 0.05, Part.FACE)
        if style == "tail" and ahead:
            sketch.limb((-ahead * 0.04, 0.06), (-ahead * 0.085, 0.2), 0.02, 0.014, Part.HAIR)
    if person.hat is not None:
        sketch.ellipse((0, 0.036), 0.054, 0.042, Part.HAT)
        brim = 0.052 + abs(ahead) * 0.02
        if view is not View.BACK:
            sketch.polygon([(-brim + ahead * 0.03, 0.046), (brim + ahead * 0.03, 0.046), (brim + ahead * 0.03, 0.06),
                            (-brim + ahead * 0.03, 0.06)], Part.HAT)  # fmt: skip


def _print(sketch: _Sketch, upper: Upper, view: View, half: float) -> None:
    """Prints that sit at one place of the garment, unlike all-over patterns."""
    seen = view is View.BACK if upper.print_on_back else view is View.FRONT
    if upper.pattern == "logo" and seen:
        sketch.ellipse((0, 0.29), half * 0.55, 0.06, Part.PRINT)
    elif upper.pattern == "panel" and seen:
        sketch.polygon([(-half * 0.6, 0.22), (half * 0.6, 0.22), (half * 0.6, 0.38), (-half * 0.6, 0.38)], Part.PRINT)
    elif upper.pattern == "sash":
        sign = {View.FRONT: 1.0, View.BACK: -1.0}.get(view)
        if sign is not None:
            sketch.limb((-half * sign, 0.19), (half * sign, 0.45), 0.036, 0.036, Part.PRINT)


def _bag(sketch: _Sketch, person: Person, view: View, half: float, before: bool) -> None:
    """A bag where the view shows it: `before` the arms and head are drawn, or after."""
    bag, s = person.bag, person.bag.size
    ahead = {View.LEFT: -1.0, View.RIGHT: 1.0}.get(view, 0.0)
    # The person's left is on the right of the picture from the front, on its left from behind.
    x = bag.side * {View.FRONT: 1.0, View.BACK: -1.0}.get(view, 0.0)
    if bag.kind == "backpack":
        if view is View.BACK and not before:
            h = half * 0.85
            sketch.polygon([(-h, 0.18), (h, 0.18), (h * 1.05, 0.26 + 0.17 * s), (-h * 1.05, 0.26 + 0.17 * s)], Part.BAG)
            low = 0.26 + 0.15 * s
            sketch.polygon([(-h * 0.7, 0.31), (h * 0.7, 0.31), (h * 0.7, low), (-h * 0.7, low)], Part.TRIM)
        elif view is View.FRONT and not before:
            for side in (-1.0, 1.0):
                sketch.limb((side * half * 0.6, 0.165), (side * half * 0.72, 0.36), 0.017, 0.015, Part.BAG)
        elif ahead and before:
            sketch.ellipse((-ahead * (half + 0.03), 0.28), 0.065 * s, 0.115 * s, Part.BAG)
            sketch.ellipse((-ahead * (half + 0.06), 0.31), 0.03 * s, 0.06 * s, Part.TRIM)
    elif bag.kind == "shoulder" and not before:
        if ahead:
            # A side view shows the person's left when walking to the left of the picture.
            if (bag.side > 0) == (ahead < 0):
                sketch.limb((0, 0.17), (-ahead * 0.03, 0.45), 0.014, 0.014, Part.TRIM)
                sketch.ellipse((-ahead * 0.03, 0.5), 0.085 * s, 0.065 * s, Part.BAG)
        else:
            sketch.limb((-x * half * 0.7, 0.17), (x * half * 1.05, 0.46), 0.014, 0.014, Part.TRIM)
            sketch.ellipse((x * (half + 0.01), 0.5), 0.06 * s, 0.075 * s, Part.BAG)
    elif bag.kind == "hand" and not before:
        if ahead:
            if (bag.side > 0) == (ahead < 0):
                sketch.polygon([(-0.075 * s, 0.53), (0.075 * s, 0.53), (0.085 * s, 0.53 + 0.13 * s),
                                (-0.085 * s, 0.53 + 0.13 * s)], Part.BAG)  # fmt: skip
        else:
            c = x * (half + 0.05)
            sketch.limb((c, 0.47), (c, 0.54), 0.01, 0.025, Part.TRIM)
            sketch.polygon([(c - 0.045 * s, 0.53), (c + 0.045 * s, 0.53), (c + 0.055 * s, 0.53 + 0.13 * s),
                            (c - 0.055 * s, 0.53 + 0.13 * s)], Part.BAG)  # fmt: skip


def _front_or_back(sketch: _Sketch, person: Person, place: Placement) -> None:
    upper, lower, view = person.upper, person.lower, place.view
    w = person.width
    half, hip = 0.112 * w, 0.1 * w
    step = place.phase * 0.02
    for side, lift in ((-1.0, max(step, 0.0)), (1.0, max(-step, 0.0))):
        foot = (side * (0.058 * w + 0.012 * place.arms), 0.975 - lift)
        _leg(sketch, (side * 0.052 * w, 0.49), foot, lower, w, side * step > 0, side * 0.012)
    _skirt(sketch, lower, hip)
    waist = 0.088 * w
    hem_half = hip * 1.05 + max(upper.hem - 0.55, 0.0) * 0.12
    shape = [(-half * 0.45, 0.155), (half * 0.45, 0.155), (half * 0.95, 0.18), (half, 0.2), (waist * 1.06, 0.36),
             (hem_half, upper.hem), (-hem_half, upper.hem), (-waist * 1.06, 0.36), (-half, 0.2),
             (-half * 0.95, 0.18)]  # fmt: skip
    sketch.polygon(shape, Part.TORSO)
    if view is View.FRONT and upper.inner is not None:
        sketch.polygon([(-half * 0.28, 0.155), (half * 0.28, 0.155), (half * 0.36, upper.hem),
                        (-half * 0.36, upper.hem)], Part.INNER)  # fmt: skip
    _print(sketch, upper, view, half)
    for side in (-1.0, 1.0):
        hand = (side * (half + 0.028 + 0.03 * place.arms), 0.485 + side * place.phase * 0.02)
        _arm(sketch, (side * half * 0.96, 0.2), hand, side * 0.014, upper, w)
    _bag(sketch, person, view, half, before=False)
    _head(sketch, person, view)
    if view is View.BACK and person.hair_style == "long" and person.bag.kind == "backpack":
        sketch.polygon([(-0.05, 0.12), (0.05, 0.12), (0.055, 0.22), (-0.055, 0.22)], Part.HAIR)


def _side(sketch: _Sketch, person: Person, place: Placement) -> None:
    upper, lower, w = person.upper, person.lower, person.width
    ahead = -1.0 if place.view is View.LEFT else 1.0
    half = 0.082 * w
    stride = place.phase * 0.115
    _bag(sketch, person, place.view, half, before=True)
    _leg(sketch, (0, 0.49), (-stride, 0.972 - abs(stride) * 0.1), lower, w * 1.1, True, ahead * 0.04)
    _leg(sketch, (0, 0.49), (stride, 0.975), lower, w * 1.1, False, ahead * 0.04)
    _skirt(sketch, lower, half * 1.05)
    hem = half * 1.05 + max(upper.hem - 0.55, 0.0) * 0.12
    shape = [(-half * 0.6, 0.158), (half * 0.6, 0.158), (half * 0.95, 0.22), (half, 0.34), (hem, upper.hem),
             (-hem, upper.hem), (-half, 0.34), (-half, 0.22)]  # fmt: skip
    sketch.polygon(shape, Part.TORSO)
    if upper.inner is not None:
        edge = ahead * half
        sketch.polygon([(edge * 0.55, 0.16), (edge * 1.02, 0.24), (edge * 1.05, upper.hem), (edge * 0.7, upper.hem)],
                       Part.INNER)  # fmt: skip
    hand = (-stride * 0.9 + ahead * 0.02, 0.48 - abs(place.phase) * 0.02)
    _arm(sketch, (-ahead * 0.005, 0.205), hand, -ahead * 0.012, upper, w * 1.1)
    _bag(sketch, person, place.view, half, before=False)
    _head(sketch, person, place.view)


def part_map(person: Person, width: int, height: int, place: Placement) -> np.ndarray:
    """Which part of `person` covers which pixel: uint8 [height, width] with the values of `Part`."""
    sketch = _Sketch(width, height, place)
    if place.view in (View.FRONT, View.BACK):
        _front_or_back(sketch, person, place)
    else:
        _side(sketch, person, place)
    return np.asarray(sketch.image)
