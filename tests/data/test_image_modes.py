"""An image of any kind comes out with the colours that it stores, or is refused with its path, in runs as in checks."""

from __future__ import annotations

import io
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.deep_check import read_images
from bench.data.images import decode
from bench.errors import UserError

HEIGHT, WIDTH = 8, 4
RED, GREY = (200, 30, 60), (90, 90, 90)


def plain(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (WIDTH, HEIGHT), colour)


def palette(colour: tuple[int, int, int]) -> Image.Image:
    image = plain("P", 3)
    image.putpalette([0] * 9 + list(colour))
    return image


def sixteen_bit(value: int) -> Image.Image:
    return Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint16))


def store(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def deep_fault(path: Path) -> str:
    return read_images(path.parent, [path.name], 1).unreadable.get(path.name, "")


RIGHT: dict[str, tuple[Callable[[], Image.Image], str, dict[str, object], tuple[int, int, int]]] = {
    "RGB": (lambda: plain("RGB", RED), "png", {}, RED),
    "RGB bmp": (lambda: plain("RGB", RED), "bmp", {}, RED),
    "RGB jpeg": (lambda: plain("RGB", GREY), "jpg", {}, GREY),
    "grey": (lambda: plain("L", 90), "png", {}, GREY),
    "grey jpeg": (lambda: plain("L", 90), "jpg", {}, GREY),
    "grey bmp": (lambda: plain("L", 90), "bmp", {}, GREY),
    "grey with a transparent value": (lambda: plain("L", 90), "png", {"transparency": 90}, GREY),
    "one bit": (lambda: plain("1", 1), "png", {}, (255, 255, 255)),
    "grey and alpha": (lambda: plain("LA", (90, 255)), "png", {}, GREY),
    "RGBA": (lambda: plain("RGBA", (*RED, 255)), "png", {}, RED),
    "RGBA, half transparent": (lambda: plain("RGBA", (*RED, 128)), "png", {}, RED),
    "palette": (lambda: palette(RED), "png", {}, RED),
    "palette bmp": (lambda: palette(RED), "bmp", {}, RED),
    "palette with a transparent colour": (lambda: palette(RED), "png", {"transparency": 3}, RED),
    "palette with alphas": (lambda: palette(RED), "png", {"transparency": bytes([0, 9, 99, 199])}, RED),
    "CMYK": (lambda: plain("CMYK", (0, 255, 255, 0)), "jpg", {"quality": 100}, (255, 0, 0)),
    "16 bit black": (lambda: sixteen_bit(0), "png", {}, (0, 0, 0)),
    "16 bit dark": (lambda: sixteen_bit(256), "png", {}, (1, 1, 1)),
    "16 bit grey": (lambda: sixteen_bit(90 * 257), "png", {}, GREY),
    "16 bit light": (lambda: sixteen_bit(65000), "png", {}, (253, 253, 253)),
    "16 bit white": (lambda: sixteen_bit(65535), "png", {}, (255, 255, 255)),
}


@pytest.mark.parametrize(("make", "suffix", "options", "colour"), RIGHT.values(), ids=RIGHT)
def test_every_kind_that_sets_may_hold_comes_out_in_its_colours(tmp_path, make, suffix, options, colour):
    path = store(make(), tmp_path / f"image.{suffix}", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(path, 6, 3)
        assert deep_fault(path) == ""
    assert found.shape == (3, 6, 3) and found.dtype == np.uint8
    assert np.abs(found - np.reshape(colour, (3, 1, 1)).astype(int)).max() <= (1 if suffix == "jpg" else 0)


def test_all_sixteen_bit_greys_round_to_the_nearest_of_eight(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = store(Image.fromarray(values), tmp_path / "greys.png")
    assert np.array_equal(decode(path, 256, 256)[1], np.rint(values / 257))


def test_a_sixteen_bit_grey_image_is_the_eight_bit_one(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (40, 20), dtype=np.uint8)
    narrow = store(Image.fromarray(grey), tmp_path / "8.png")
    wide = store(Image.fromarray(grey.astype(np.uint16) * 257), tmp_path / "16.png")
    assert np.array_equal(decode(narrow, 12, 6), decode(wide, 12, 6))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_ordinary_images_are_what_pillow_makes_of_them(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    path = store(Image.fromarray(pixels), tmp_path / f"image.{suffix}")
    with Image.open(path) as image:
        pillow = image.convert("RGB").resize((16, 48), Image.Resampling.BICUBIC)
    assert np.array_equal(decode(path, 48, 16), np.asarray(pillow).transpose(2, 0, 1))


def refused(path: Path, why: str) -> None:
    """A run names the path and the reason; the deep check gives the same reason."""
    with pytest.raises(UserError) as caught:
        decode(path, 8, 4)
    assert str(path) in str(caught.value) and why in str(caught.value)
    assert why in deep_fault(path)


OTHER_FORMATS = {
    "TIFF": lambda: plain("RGB", RED),
    "GIF": lambda: plain("RGB", RED),
    "WEBP": lambda: plain("RGB", RED),
    "EPS": lambda: plain("RGB", RED),
    "PPM": lambda: plain("RGB", RED),
    "ICO": lambda: Image.new("RGB", (16, 16), RED),
    "TGA": lambda: plain("RGB", RED),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_formats_that_no_set_has_are_refused_whatever_the_file_is_called(tmp_path, name):
    content = io.BytesIO()
    OTHER_FORMATS[name]().save(content, name)
    path = tmp_path / "0001_c1s1_001051_00.jpg"
    path.write_bytes(content.getvalue())
    refused(path, "it is no JPEG, PNG or BMP file")


def test_no_file_starts_another_program(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **_: started.append(given))
    plain("RGB", RED).save(tmp_path / "picture.eps")
    (tmp_path / "picture.eps").rename(tmp_path / "picture.jpg")
    refused(tmp_path / "picture.jpg", "it is no JPEG, PNG or BMP file")
    assert started == []


@pytest.mark.parametrize("mode", ["F", "I", "LAB", "HSV"])
def test_modes_without_a_certain_meaning_are_refused_by_name(tmp_path, monkeypatch, mode):
    path = store(plain("RGB", RED), tmp_path / "image.png")
    monkeypatch.setattr("bench.data.images._open", lambda content: Stored(mode))
    refused(path, f"its pixels are of mode {mode}")


class Stored(Image.Image):
    """An image as a file of some future format may give it."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        made = Image.new(mode, (WIDTH, HEIGHT))
        self.im, self._mode, self._size = made.im, mode, made.size


def test_an_image_of_far_too_many_pixels_is_named(tmp_path, monkeypatch):
    path = store(plain("RGB", RED), tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    refused(path, "exceeds limit")


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda png: b"",
    "its head": lambda png: png[:20],
    "its half": lambda png: png[: len(png) // 2],
    "a wrong checksum": lambda png: png.replace(b"IDAT", b"IDAT\1", 1),
    "a size of nothing": lambda png: png[:16] + bytes(8) + png[24:],
    "noise": lambda png: png[:40] + np.random.default_rng(1).bytes(len(png)),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_what_is_left_of_a_png_is_refused_alike(tmp_path, damage):
    content = io.BytesIO()
    Image.effect_noise((40, 80), 50).convert("RGB").save(content, "PNG")
    path = tmp_path / "damaged.png"
    path.write_bytes(damage(content.getvalue()))
    refused(path, "")
    assert deep_fault(path)


def test_bit_flips_in_a_png_are_refused_in_runs_too(tmp_path):
    content = io.BytesIO()
    Image.effect_noise((40, 80), 50).convert("RGB").save(content, "PNG", compress_level=0)
    flipped = bytearray(content.getvalue())
    flipped[len(flipped) // 2] ^= 1
    path = tmp_path / "flipped.png"
    path.write_bytes(flipped)
    refused(path, "")
    assert deep_fault(path)


def test_what_viewers_show_otherwise_is_remarked_on_and_pixels_are_taken_as_stored(tmp_path):
    upright = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    upright[: HEIGHT // 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    store(Image.fromarray(upright), tmp_path / "turned.png", exif=exif)
    store(Image.fromarray(upright), tmp_path / "upright.png", exif=Image.Exif())
    store(plain("RGBA", (*RED, 128)), tmp_path / "glass.png")
    store(plain("RGBA", (*RED, 255)), tmp_path / "opaque.png")
    assert np.array_equal(decode(tmp_path / "turned.png", HEIGHT, WIDTH), upright.transpose(2, 0, 1))
    result = read_images(tmp_path, sorted(path.name for path in tmp_path.iterdir()), 2)
    assert result.unreadable == {}
    said = {
        word: paths for remark, paths in result.remarks.items() for word in ("EXIF", "transparent") if word in remark
    }
    assert said == {"EXIF": ["turned.png"], "transparent": ["glass.png"]}
