"""What stands behind the persons: one wide panel per camera, of which every image shows a piece."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bench.data.standin.people import COLOURS, Colour

PANEL_WIDTH, PANEL_HEIGHT = 720, 240


def _tint(rng: np.random.Generator, names: tuple[str, ...], spread: float = 22.0) -> Colour:
    base = np.array(COLOURS[names[int(rng.integers(len(names)))]], np.float64)
    red, green, blue = (int(v) for v in np.clip(base * rng.uniform(0.7, 1.2) + rng.normal(0, spread / 2, 3), 8, 248))
    return red, green, blue


def _scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(min(v * factor, 255)) for v in colour)
    return red, green, blue


def _floor(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int, colour: Colour) -> None:
    """Tiles, bands or plain ground below the horizon."""
    draw.rectangle((0, horizon, PANEL_WIDTH, PANEL_HEIGHT), fill=colour)
    kind = int(rng.integers(3))
    line = _scaled(colour, float(rng.choice([0.7, 0.82, 1.25])))
    if kind == 0:
        pitch = int(rng.integers(14, 40))
        slant = int(rng.integers(-40, 40))
        for x in range(-40, PANEL_WIDTH + 40, pitch):
            draw.line((x, horizon, x + slant, PANEL_HEIGHT), fill=line, width=2)
    if kind <= 1:
        y, gap = float(horizon), float(rng.uniform(6, 14))
        while y < PANEL_HEIGHT:
            draw.line((0, int(y), PANEL_WIDTH, int(y)), fill=line, width=2)
            y, gap = y + gap, gap * 1.3
    else:
        y = int(rng.integers(horizon, PANEL_HEIGHT - 20))
        stripe = _tint(rng, ("white", "yellow", "charcoal"))
        draw.rectangle((0, y, PANEL_WIDTH, y + int(rng.integers(8, 30))), fill=stripe)


def _uprights(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int, names: tuple[str, ...]) -> None:
    """Pillars, door frames and posts at irregular distances."""
    x = int(rng.integers(0, 60))
    while x < PANEL_WIDTH:
        width = int(rng.integers(6, 46))
        draw.rectangle((x, 0, x + width, horizon + int(rng.integers(-8, 12))), fill=_tint(rng, names))
        x += width + int(rng.integers(20, 120))


def _foliage(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    for _ in range(170):
        x, y = rng.uniform(-10, PANEL_WIDTH), rng.uniform(-10, horizon + 20)
        r = rng.uniform(4, 20)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_tint(rng, ("green", "olive", "olive"), 40.0))


def _shopfront(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Windows with goods, and a row of signs."""
    x = 0
    while x < PANEL_WIDTH:
        width = int(rng.integers(30, 90))
        top = int(rng.integers(20, 50))
        draw.rectangle((x, 4, x + width - 4, top), fill=_tint(rng, tuple(COLOURS), 40.0))
        draw.rectangle((x + 3, top + 4, x + width - 8, horizon - 4), fill=_tint(rng, ("charcoal", "sky", "silver")))
        for _ in range(4):
            gx, gy = int(rng.integers(x, x + width)), int(rng.integers(top, max(horizon, top + 2)))
            draw.rectangle((gx, gy, gx + int(rng.integers(4, 18)), gy + int(rng.integers(4, 22))),
                           fill=_tint(rng, tuple(COLOURS), 40.0))  # fmt: skip
        x += width


def _street(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Facades above, parked vehicles along the horizon."""
    _uprights(draw, rng, horizon, ("beige", "brown", "silver", "grey"))
    for _ in range(7):
        x, width, height = int(rng.integers(0, PANEL_WIDTH)), int(rng.integers(50, 110)), int(rng.integers(22, 44))
        colour = _tint(rng, ("red", "white", "black", "blue", "silver", "yellow", "green"))
        draw.rounded_rectangle((x, horizon - height, x + width, horizon + 8), 8, fill=colour)
        draw.rectangle((x + 8, horizon - height + 4, x + width - 8, horizon - height // 2), fill=_scaled(colour, 0.5))


def panel(rng: np.random.Generator, kind: str, ground: tuple[str, ...]) -> np.ndarray:
    """The surroundings of one camera, uint8 [PANEL_HEIGHT, PANEL_WIDTH, 3].

    `kind` is one of corridor, wall, shop, foliage, street; `ground` names the colours of floors and walls.
    """
    image = Image.new("RGB", (PANEL_WIDTH, PANEL_HEIGHT), _tint(rng, ground))
    draw = ImageDraw.Draw(image)
    horizon = int(PANEL_HEIGHT * rng.uniform(0.28, 0.68))
    if kind == "foliage":
        _foliage(draw, rng, horizon)
    elif kind == "shop":
        _shopfront(draw, rng, horizon)
    elif kind == "street":
        _street(draw, rng, horizon)
    else:
        _uprights(draw, rng, horizon, ground)
        for _ in range(int(rng.integers(1, 4)) if kind == "wall" else 5):
            y = int(rng.integers(0, horizon))
            draw.rectangle((0, y, PANEL_WIDTH, y + int(rng.integers(3, 18))), fill=_tint(rng, ground, 40.0))
    _floor(draw, rng, horizon, _tint(rng, ground))
    image = image.filter(ImageFilter.BoxBlur(float(rng.uniform(0.6, 2.2))))
    stains = Image.fromarray(rng.normal(1.0, 0.13, (9, 27)).astype(np.float32))
    stains = np.asarray(stains.resize(image.size, Image.Resampling.BICUBIC))[..., None]
    grain = rng.normal(0.0, 5.0, (PANEL_HEIGHT, PANEL_WIDTH, 1))
    return np.clip(np.asarray(image) * stains + grain, 0, 255).astype(np.uint8)
