"""The domains: what people wear there, what the places look like, how the pictures are taken."""

from dataclasses import dataclass, replace

from bench.data.standin.people import Wardrobe


@dataclass(frozen=True)
class Optics:
    """Ranges from which the cameras of one domain are drawn, (low, high) each."""

    gain: tuple[float, float]
    """Red, green and blue gains: the colour cast."""
    light: tuple[float, float]
    gamma: tuple[float, float]
    blur: tuple[float, float]
    """Radius in pixels of a frame 192 high."""
    noise: tuple[float, float]
    """Standard deviation in grey levels of 255."""
    quality: tuple[int, int]
    """JPEG quality."""


@dataclass(frozen=True)
class Domain:
    """One world. `key` enters every seed; `height` (native pixels) and `aspect` (width/height) are ranges."""

    name: str
    key: int
    cameras: int
    wardrobe: Wardrobe
    optics: Optics
    scenes: tuple[str, ...]
    ground: tuple[str, ...]
    height: tuple[int, int]
    aspect: tuple[float, float]
    occlusion: float
    """Probability that something stands before the person."""
    jitter: float
    """How far a crop may be off centre, as a share of its size."""
    daylight: float = 0.0
    """How much the part of day (morning, noon, afternoon) changes the light, 0-1."""


_PATTERNS = {"plain": 0.3, "hstripes": 0.12, "vstripes": 0.05, "checks": 0.08, "dots": 0.05, "block": 0.1, "band": 0.07,
             "raglan": 0.06, "logo": 0.09, "panel": 0.05, "sash": 0.03}  # fmt: skip

MARKET = Domain(
    name="market",
    key=1,
    cameras=6,
    wardrobe=Wardrobe(
        upper_colours={"white": 4, "black": 2, "red": 1.5, "pink": 1.5, "yellow": 1.2, "sky": 1.5, "green": 1,
                       "blue": 1.5, "grey": 1.5, "lime": 0.7, "orange": 0.8, "purple": 0.8, "navy": 0.8, "teal": 0.6},
        lower_colours={"denim": 3, "black": 3, "blue": 1.2, "grey": 1.2, "beige": 1.2, "white": 1, "navy": 1,
                       "red": 0.5, "olive": 0.5, "pink": 0.5},
        patterns=_PATTERNS,
        lowers={"trousers": 0.36, "shorts": 0.4, "skirt": 0.24},
        bags={"none": 0.42, "backpack": 0.24, "shoulder": 0.2, "hand": 0.14},
        sleeves=(0.2, 0.3),
        coat=0.04,
        hat=0.1,
    ),
    optics=Optics((0.82, 1.2), (0.75, 1.25), (0.8, 1.25), (0.3, 1.0), (2, 6), (85, 90)),
    scenes=("shop", "foliage", "wall"),
    ground=("silver", "beige", "grey"),
    height=(128, 128),
    aspect=(0.5, 0.5),
    occlusion=0.14,
    jitter=0.08,
)  # fmt: skip

CUHK03 = Domain(
    name="cuhk03",
    key=2,
    cameras=2,
    wardrobe=Wardrobe(
        upper_colours={"white": 2.5, "black": 2.5, "grey": 2.5, "navy": 2, "charcoal": 2, "blue": 1.2, "maroon": 1,
                       "olive": 1, "brown": 0.8, "red": 0.8, "sky": 1, "beige": 1, "green": 0.7, "purple": 0.6},
        lower_colours={"denim": 3, "black": 3, "charcoal": 2, "navy": 1.5, "beige": 1.2, "grey": 1.2, "brown": 0.8},
        patterns={**_PATTERNS, "plain": 0.26, "checks": 0.12},
        lowers={"trousers": 0.62, "shorts": 0.22, "skirt": 0.16},
        bags={"none": 0.2, "backpack": 0.4, "shoulder": 0.27, "hand": 0.13},
        sleeves=(0.4, 0.3),
        coat=0.06,
        hat=0.06,
        vivid=0.85,
    ),
    optics=Optics((0.75, 1.3), (0.65, 1.3), (0.75, 1.35), (0.3, 1.3), (3, 8), (88, 88)),
    scenes=("corridor", "wall"),
    ground=("grey", "brown", "silver"),
    height=(150, 300),
    aspect=(0.33, 0.44),
    occlusion=0.1,
    jitter=0.1,
)  # fmt: skip

MSMT = Domain(
    name="msmt",
    key=3,
    cameras=15,
    wardrobe=Wardrobe(
        upper_colours={"black": 4, "charcoal": 2, "navy": 2.2, "grey": 1.8, "white": 1.8, "red": 1.8, "olive": 1.2,
                       "brown": 1.2, "blue": 1.5, "pink": 1.1, "maroon": 1.1, "beige": 1.1, "purple": 1, "yellow": 0.9,
                       "teal": 0.9, "green": 1, "orange": 0.9, "sky": 1, "silver": 1},
        lower_colours={"black": 4, "denim": 3, "charcoal": 1.6, "navy": 1.5, "brown": 0.9, "grey": 1.2, "beige": 1,
                       "olive": 0.7, "maroon": 0.5, "white": 0.6, "blue": 0.8, "red": 0.3},
        patterns=_PATTERNS,
        lowers={"trousers": 0.68, "shorts": 0.15, "skirt": 0.17},
        bags={"none": 0.34, "backpack": 0.3, "shoulder": 0.2, "hand": 0.16},
        sleeves=(0.68, 0.35),
        coat=0.22,
        hat=0.14,
    ),
    optics=Optics((0.75, 1.28), (0.62, 1.3), (0.75, 1.3), (0.2, 1.4), (2, 8), (85, 90)),
    scenes=("corridor", "wall", "shop", "foliage", "street"),
    ground=("grey", "silver", "charcoal", "beige", "brown", "olive"),
    height=(200, 420),
    aspect=(0.36, 0.45),
    occlusion=0.16,
    jitter=0.1,
    daylight=0.6,
)  # fmt: skip

RANDPERSON = Domain(
    name="randperson",
    key=4,
    cameras=19,
    wardrobe=Wardrobe(
        upper_colours=dict.fromkeys(
            ("white", "black", "red", "pink", "yellow", "sky", "green", "blue", "grey", "lime", "orange", "purple",
             "navy", "teal", "olive", "maroon", "brown", "beige"), 1.0),
        lower_colours=dict.fromkeys(
            ("denim", "black", "red", "blue", "green", "yellow", "purple", "teal", "white", "grey", "orange",
             "beige"), 1.0),
        patterns={"plain": 0.1, "hstripes": 0.15, "vstripes": 0.12, "checks": 0.16, "dots": 0.14, "block": 0.1,
                  "band": 0.06, "raglan": 0.07, "logo": 0.04, "panel": 0.04, "sash": 0.02},
        lowers={"trousers": 0.5, "shorts": 0.25, "skirt": 0.25},
        bags={"none": 0.75, "backpack": 0.13, "shoulder": 0.06, "hand": 0.06},
        sleeves=(0.5, 0.3),
        coat=0.1,
        hat=0.12,
        vivid=1.35,
    ),
    optics=Optics((0.85, 1.18), (0.6, 1.3), (0.8, 1.3), (0.1, 0.6), (0, 2), (88, 92)),
    scenes=("street", "wall", "foliage", "corridor"),
    ground=("silver", "grey", "olive", "beige", "charcoal"),
    height=(200, 320),
    aspect=(0.36, 0.46),
    occlusion=0.06,
    jitter=0.06,
)  # fmt: skip

VIPER = replace(
    MARKET,
    name="viper",
    key=5,
    cameras=2,
    optics=Optics((0.75, 1.3), (0.6, 1.35), (0.75, 1.35), (0.4, 1.3), (3, 8), (90, 90)),
    scenes=("street", "foliage"),
    ground=("grey", "silver", "olive"),
    height=(128, 128),
    aspect=(0.375, 0.375),
    occlusion=0.06,
)
PRID = replace(
    MSMT,
    name="prid",
    key=6,
    cameras=2,
    optics=Optics((0.7, 1.35), (0.6, 1.3), (0.75, 1.35), (0.4, 1.2), (2, 6), (90, 90)),
    scenes=("street", "wall"),
    ground=("silver", "grey", "beige"),
    height=(128, 128),
    aspect=(0.5, 0.5),
    occlusion=0.05,
    daylight=0.0,
)
GRID = replace(
    MSMT,
    name="grid",
    key=7,
    cameras=6,
    optics=Optics((0.75, 1.25), (0.55, 1.2), (0.8, 1.35), (0.8, 2.0), (4, 9), (80, 88)),
    scenes=("corridor", "wall"),
    ground=("charcoal", "grey", "brown"),
    height=(120, 260),
    aspect=(0.33, 0.5),
    occlusion=0.2,
    daylight=0.0,
)
ILIDS = replace(
    MSMT,
    name="ilids",
    key=8,
    cameras=2,
    optics=Optics((0.8, 1.25), (0.65, 1.3), (0.8, 1.3), (0.5, 1.5), (3, 8), (82, 90)),
    scenes=("corridor", "shop"),
    ground=("grey", "silver", "beige"),
    height=(120, 220),
    aspect=(0.33, 0.5),
    occlusion=0.35,
    daylight=0.0,
)
CUHK02 = replace(CUHK03, name="cuhk02", key=9, cameras=10, scenes=("corridor", "wall", "foliage"), height=(160, 160))
CUHKSYSU = replace(
    MARKET,
    name="cuhksysu",
    key=10,
    cameras=40,
    optics=Optics((0.8, 1.25), (0.6, 1.35), (0.75, 1.3), (0.1, 1.0), (1, 5), (85, 92)),
    scenes=("street", "shop", "foliage", "wall", "corridor"),
    ground=("silver", "grey", "olive", "beige", "charcoal", "brown"),
    height=(140, 400),
    aspect=(0.33, 0.5),
)
"""Its cameras are the scenes: hand-held ones and films, of which nobody counted the cameras."""

DOMAINS: dict[str, Domain] = {
    domain.name: domain for domain in (MARKET, CUHK03, MSMT, RANDPERSON, VIPER, PRID, GRID, ILIDS, CUHK02, CUHKSYSU)
}
