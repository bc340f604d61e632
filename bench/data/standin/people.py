"""Who a person is: what stays the same in every image of one identity."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[int, int, int]
"""Red, green, blue, 0-255, as seen in neutral light."""

COLOURS: dict[str, Colour] = {
    "black": (30, 30, 33),
    "charcoal": (66, 66, 71),
    "grey": (124, 124, 128),
    "silver": (180, 180, 183),
    "white": (226, 226, 222),
    "beige": (202, 182, 146),
    "brown": (108, 72, 46),
    "navy": (30, 40, 84),
    "blue": (46, 88, 172),
    "sky": (128, 172, 214),
    "denim": (78, 98, 132),
    "red": (188, 42, 46),
    "maroon": (108, 30, 44),
    "pink": (224, 142, 168),
    "orange": (224, 120, 42),
    "yellow": (224, 200, 72),
    "green": (56, 130, 72),
    "lime": (150, 200, 70),
    "olive": (96, 100, 58),
    "teal": (38, 126, 132),
    "purple": (112, 64, 142),
}
SKIN: tuple[Colour, ...] = ((236, 198, 172), (222, 178, 148), (196, 148, 114), (150, 104, 76), (98, 66, 48))
HAIR: tuple[Colour, ...] = ((24, 20, 20), (40, 30, 26), (74, 50, 34), (128, 88, 50), (186, 150, 92), (140, 138, 136))

HairStyle = Literal["bald", "short", "bob", "long", "tail"]
LowerKind = Literal["trousers", "shorts", "skirt"]
BagKind = Literal["none", "backpack", "shoulder", "hand"]
Weights = dict[str, float]


@dataclass(frozen=True)
class Wardrobe:
    """How often the persons of one domain wear what. All weights are relative and need not sum to 1."""

    upper_colours: Weights
    lower_colours: Weights
    patterns: Weights
    lowers: Weights
    bags: Weights
    sleeves: tuple[float, float]
    """Probabilities of a long sleeve and of an open jacket among the long ones."""
    coat: float
    """Probability that a long-sleeved garment reaches to the knees."""
    hat: float
    vivid: float = 1.0
    """Saturation of all garments against the colour table: 1 leaves it as it is."""


@dataclass(frozen=True)
class Upper:
    """The garment of the upper body. Lengths in body heights; `sleeve` in arm lengths, 0-1."""

    colour: Colour
    second: Colour
    pattern: str
    period: float
    sleeve: float
    hem: float
    inner: Colour | None
    print_on_back: bool


@dataclass(frozen=True)
class Lower:
    """The garment of the lower body; `hem` is its lower end, 0 = top of the head, 1 = feet."""

    kind: LowerKind
    colour: Colour
    second: Colour
    pattern: str
    hem: float


@dataclass(frozen=True)
class Bag:
    """`side` is the person's own: -1 right, +1 left."""

    kind: BagKind
    colour: Colour
    trim: Colour
    side: int
    size: float


@dataclass(frozen=True)
class Person:
    """One identity. `width` and `height` are relative to the average build."""

    skin: Colour
    hair: Colour
    hair_style: HairStyle
    hat: Colour | None
    upper: Upper
    lower: Lower
    shoes: Colour
    bag: Bag
    width: float
    height: float


def pick(rng: np.random.Generator, weights: Weights) -> str:
    """One key of `weights`, with probability in proportion to its value."""
    names = list(weights)
    edges = np.cumsum([weights[name] for name in names])
    return names[min(int(np.searchsorted(edges, rng.random() * edges[-1], side="right")), len(names) - 1)]


def shade_of(rng: np.random.Generator, name: str, vivid: float) -> Colour:
    """A shade of a named colour: two persons in "blue" rarely wear quite the same blue."""
    colour = np.array(COLOURS[name], np.float64)
    grey = colour.mean()
    colour = grey + (colour - grey) * vivid * rng.uniform(0.85, 1.1)
    colour = colour * rng.uniform(0.82, 1.15) + rng.normal(0.0, 5.0, 3)
    red, green, blue = (int(v) for v in np.clip(colour, 12, 244))
    return red, green, blue


def contrasting(rng: np.random.Generator, main: Colour, weights: Weights, vivid: float) -> Colour:
    """A second colour that can be told from `main` at a glance even when dark and blurred."""
    for _ in range(12):
        second = shade_of(rng, pick(rng, weights), vivid)
        if sum(abs(a - b) for a, b in zip(main, second, strict=True)) > 190:
            return second
    return (226, 226, 222) if sum(main) < 380 else (30, 30, 33)


def _upper(rng: np.random.Generator, wardrobe: Wardrobe) -> Upper:
    colour = shade_of(rng, pick(rng, wardrobe.upper_colours), wardrobe.vivid)
    even = dict.fromkeys(wardrobe.upper_colours, 1.0)
    long = rng.random() < wardrobe.sleeves[0]
    inner = None
    if long and rng.random() < wardrobe.sleeves[1]:
        inner = contrasting(rng, colour, even, wardrobe.vivid)
    coat = long and rng.random() < wardrobe.coat
    return Upper(
        colour=colour,
        second=contrasting(rng, colour, even, wardrobe.vivid),
        pattern=pick(rng, wardrobe.patterns),
        period=float(rng.choice([0.055, 0.075, 0.105])),
        sleeve=1.0 if long else float(rng.choice([0.0, 0.42, 0.5])),
        hem=float(rng.uniform(0.66, 0.76) if coat else rng.uniform(0.48, 0.56)),
        inner=inner,
        print_on_back=bool(rng.random() < 0.5),
    )


def _lower(rng: np.random.Generator, wardrobe: Wardrobe) -> Lower:
    kind = pick(rng, wardrobe.lowers)
    colour = shade_of(rng, pick(rng, wardrobe.lower_colours), wardrobe.vivid)
    pattern = "plain"
    if rng.random() < (0.3 if kind == "skirt" else 0.14):
        pattern = str(rng.choice(["checks", "hstripes", "dots"] if kind == "skirt" else ["sidestripe", "checks"]))
    low, high = {"trousers": (0.93, 0.97), "shorts": (0.62, 0.74), "skirt": (0.62, 0.84)}[kind]
    return Lower(
        kind=kind,  # type: ignore[arg-type]
        colour=colour,
        second=contrasting(rng, colour, wardrobe.upper_colours, wardrobe.vivid),
        pattern=pattern,
        hem=float(rng.uniform(low, high)),
    )


def sample_person(rng: np.random.Generator, wardrobe: Wardrobe) -> Person:
    """Draw an identity from the habits of a domain."""
    upper, lower = _upper(rng, wardrobe), _lower(rng, wardrobe)
    bag_colour = shade_of(rng, pick(rng, {**dict.fromkeys(wardrobe.upper_colours, 1.0), "black": 4.0}), wardrobe.vivid)
    bag = Bag(
        kind=pick(rng, wardrobe.bags),  # type: ignore[arg-type]
        colour=bag_colour,
        trim=contrasting(rng, bag_colour, wardrobe.upper_colours, wardrobe.vivid),
        side=int(rng.choice([-1, 1])),
        size=float(rng.uniform(0.8, 1.25)),
    )
    style = pick(rng, {"bald": 0.06, "short": 0.44, "bob": 0.14, "long": 0.22, "tail": 0.14})
    hat = rng.random() < wardrobe.hat
    hat_colour = shade_of(rng, pick(rng, dict.fromkeys(COLOURS, 1.0)), wardrobe.vivid)
    shoes = {"black": 3.0, "white": 3.0, "grey": 1.0, "brown": 1.5, "red": 0.8, "blue": 0.8, "lime": 0.4}
    return Person(
        skin=SKIN[int(rng.choice(len(SKIN), p=[0.28, 0.34, 0.2, 0.1, 0.08]))],
        hair=HAIR[int(rng.choice(len(HAIR), p=[0.4, 0.25, 0.14, 0.09, 0.07, 0.05]))],
        hair_style=style,  # type: ignore[arg-type]
        hat=hat_colour if hat else None,
        upper=upper,
        lower=lower,
        shoes=shade_of(rng, pick(rng, shoes), 1.0),
        bag=bag,
        width=float(np.clip(rng.normal(1.05, 0.11), 0.84, 1.35)),
        height=float(np.clip(rng.normal(1.0, 0.04), 0.9, 1.08)),
    )
