"""How the parts of a person look: colours and patterns, before any camera."""

import numpy as np

from bench.data.standin.body import Part, Placement, View
from bench.data.standin.people import Person


def pattern_of(name: str, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    """Where an all-over pattern shows its second colour, bool [H, W].

    x [1, W] and y [H, 1], or both [H, W], in body heights, as is `period`.
    """
    row, column = (y / period) % 1.0 < 0.45, (x / period + 0.25) % 1.0 < 0.45
    if name == "hstripes":
        return row & (x == x)
    if name == "vstripes":
        return column & (y == y)
    if name == "checks":
        return row ^ column
    if name == "dots":
        dx = (x / period + 0.5 * (np.floor(y / period) % 2)) % 1.0 - 0.5
        return dx**2 + ((y / period) % 1.0 - 0.5) ** 2 < 0.09
    if name == "block":
        return (y < 0.30) & (x == x)
    if name == "band":
        return (y > 0.27) & (y < 0.35) & (x == x)
    return np.zeros((y.shape[0], x.shape[1]), bool)


def _part_colours(person: Person) -> np.ndarray:
    """Colour of every part, float32 [len(Part), 3]; far limbs and sleeves a little darker to stand out."""
    upper, lower, bag = person.upper, person.lower, person.bag
    sleeve = upper.second if upper.pattern == "raglan" else upper.colour
    table = np.zeros((len(Part), 3), np.float32)
    for part, colour, light in (
        (Part.SKIN, person.skin, 0.95),
        (Part.FACE, person.skin, 1.0),
        (Part.FAR_SKIN, person.skin, 0.75),
        (Part.HAIR, person.hair, 1.0),
        (Part.HAT, person.hat or person.hair, 1.0),
        (Part.TORSO, upper.colour, 1.0),
        (Part.SLEEVE, sleeve, 0.88),
        (Part.INNER, upper.inner or upper.second, 1.0),
        (Part.PRINT, upper.second, 1.0),
        (Part.LEG, lower.colour, 1.0),
        (Part.FAR_LEG, lower.colour, 0.8),
        (Part.SKIRT, lower.colour, 1.0),
        (Part.SHOES, person.shoes, 1.0),
        (Part.BAG, bag.colour, 1.0),
        (Part.TRIM, bag.trim, 0.9),
    ):
        table[part] = np.multiply(colour, light)
    return table


def paint(person: Person, parts: np.ndarray, place: Placement) -> np.ndarray:
    """Colours of a part map in neutral light, float32 [H, W, 3], 0-255; the background is 0."""
    colours = _part_colours(person)[parts]
    x = ((np.arange(parts.shape[1], dtype=np.float32) - place.axis) / (place.scale * place.squeeze))[None, :]
    y = ((np.arange(parts.shape[0], dtype=np.float32) - place.crown) / place.scale)[:, None]
    if place.view is View.BACK:
        x = -x
    upper, lower = person.upper, person.lower
    if upper.pattern in ("hstripes", "vstripes", "checks", "dots", "block", "band"):
        where = pattern_of(upper.pattern, x, y, upper.period) & ((parts == Part.TORSO) | (parts == Part.SLEEVE))
        colours[where] = upper.second
    if lower.pattern == "sidestripe":
        edge = np.abs(np.abs(x) - 0.088 * person.width) < 0.014 if place.view < View.LEFT else np.abs(x) < 0.016
        colours[edge & (y == y) & ((parts == Part.LEG) | (parts == Part.FAR_LEG))] = lower.second
    elif lower.pattern != "plain":
        cloth = (parts == Part.LEG) | (parts == Part.FAR_LEG) | (parts == Part.SKIRT)
        colours[pattern_of(lower.pattern, x, y, 0.07) & cloth] = lower.second
    return colours
