"""Published ImageNet weights: where they are, their hashes, and the cache in which runs look for them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from torchvision.models import (
    MobileNet_V2_Weights,
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
)

from bench.errors import UserError
from bench.journal.record import write_atomically
from bench.network.weight_file import WeightFile, not_weights, read_file


@dataclass(frozen=True)
class Published:
    """A published file: its address and its SHA-256, "" where only the digits in its name are known."""

    url: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]

    @property
    def expected(self) -> str:
        """The SHA-256 as far as it is known: all of it, or the first eight digits, which the name ends with."""
        return self.sha256 or self.name.rsplit(".", 1)[0].rsplit("-", 1)[1]


_IBN_RELEASE = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0/"
PUBLISHED = {
    ("resnet18", "none"): Published(
        ResNet18_Weights.IMAGENET1K_V1.url, "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
    ),
    ("resnet34", "none"): Published(
        ResNet34_Weights.IMAGENET1K_V1.url, "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f"
    ),
    ("resnet50", "none"): Published(
        ResNet50_Weights.IMAGENET1K_V1.url, "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"
    ),
    ("resnet101", "none"): Published(
        ResNet101_Weights.IMAGENET1K_V1.url, "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a"
    ),
    ("mobilenet_v2", "none"): Published(
        MobileNet_V2_Weights.IMAGENET1K_V1.url, "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
    ),
    ("resnet18", "a"): Published(_IBN_RELEASE + "resnet18_ibn_a-2f571257.pth"),
    ("resnet34", "a"): Published(_IBN_RELEASE + "resnet34_ibn_a-94bc1577.pth"),
    ("resnet50", "a"): Published(
        _IBN_RELEASE + "resnet50_ibn_a-d9d0bb7b.pth", "d9d0bb7b2ba34d7e6e12c4616c9d233914762e49fbb9fcb49d7f4d65da6f759c"
    ),
    ("resnet101", "a"): Published(_IBN_RELEASE + "resnet101_ibn_a-59ea0ac6.pth"),
    ("resnet18", "b"): Published(_IBN_RELEASE + "resnet18_ibn_b-bc2f3c11.pth"),
    ("resnet34", "b"): Published(_IBN_RELEASE + "resnet34_ibn_b-04134c37.pth"),
    ("resnet50", "b"): Published(_IBN_RELEASE + "resnet50_ibn_b-9ca61e85.pth"),
    ("resnet101", "b"): Published(_IBN_RELEASE + "resnet101_ibn_b-c55f6dba.pth"),
}
"""By (architecture, IBN): torchvision's and IBN-Net's files.

Neither publisher prints a whole SHA-256. Those given here are what at least two projects that downloaded the file each
found, and begin with the digits of its name. Of the others the whole SHA-256 is noted beside the file when it is first
seen here.
"""


def weights_path(arch: str, ibn: str) -> Path:
    """Where torch's hub cache keeps the published weights of an architecture."""
    return Path(torch.hub.get_dir()) / "checkpoints" / PUBLISHED[arch, ibn].name


def fetch_weights(arch: str, ibn: str, progress: bool = True) -> WeightFile:
    """The published weights, from the cache or else downloaded into it; their SHA-256 is what it should be.

    Raises UserError: with the address and the path if there is neither file nor network, and for another file.
    """
    published, path = PUBLISHED[arch, ibn], weights_path(arch, ibn)
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(published.url, str(path), published.expected, progress)
        except (OSError, RuntimeError, HTTPException) as fault:
            raise UserError(
                f"ImageNet weights of {arch} (IBN {ibn}) are not in the cache ({path}) and cannot be downloaded "
                f"({fault}). On a machine with a network run `bench weights fetch --arch {arch} --ibn {ibn}` and copy "
                f"the file there, or name a file with --set backbone.weights=PATH. Source: {published.url}"
            ) from fault
    file = read_file(path)
    fault = _not_published(file, published)
    if fault:
        raise UserError(f"{path} {fault}; delete it and run `bench weights fetch --arch {arch} --ibn {ibn}`")
    return file


def noted_sha256(path: Path) -> Path:
    """The file beside a fetched one that holds its SHA-256, in the form that `sha256sum --check` reads."""
    return path.with_name(path.name + ".sha256")


def _not_published(file: WeightFile, published: Published) -> str:
    """Why a file cannot be the published one, or ""."""
    if not file.sha256.startswith(published.expected):
        what = not_weights(file.content)
        is_what = f"is {what}" if what else "is not the published file"
        return f"{is_what} (its SHA-256 begins with {file.sha256[:8]}, not with {published.expected[:8]})"
    if published.sha256:
        return ""
    note = noted_sha256(file.path)
    try:
        words = note.read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        # A cache that others keep may not be writable; the digits in the name agree all the same.
        with contextlib.suppress(OSError):
            write_atomically(note, f"{file.sha256}  {file.path.name}\n".encode())
        return ""
    except OSError as fault:
        return f"cannot be checked, since {note} cannot be read ({fault.strerror})"
    return "" if words[:1] == [file.sha256] else f"has changed since its SHA-256 was noted in {note.name}"
