"""Changes of images on a GPU: the kernels in Triton's interpreter, through its compiler, and on a GPU itself."""

from __future__ import annotations

import os

import apart
import pytest
import torch
from fresh_python import run
from places import ROOT

from bench.config import Augmentation
from bench.data.tensors import as_float
from bench.training.augment import apply_changes, augment, draw_change

pytest.importorskip("triton")

SETTINGS = (Augmentation(), Augmentation(rotation=180, pad=3), Augmentation(rotation=0, pad=0, erase=0))


def drawn_images(count: int = 8, height: int = 48, width: int = 20) -> torch.Tensor:
    """Random colours; greys, whose hue is none, among them."""
    images = torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(1)).byte()
    images[:2] = images[:2, :1]
    return images


@pytest.mark.slow
def test_the_kernels_agree_in_tritons_interpreter():
    code = """
import torch
from bench.data.tensors import as_float
from bench.training import augment_triton
from bench.training.augment import _numbers, apply_changes, draw_change
from test_augment_gpu import SETTINGS, drawn_images
# A size of one strip that is not full, and one of several.
for settings, size in zip(SETTINGS, ((48, 20), (48, 20), (64, 32))):
    images = drawn_images(8, *size)
    changes = [draw_change(settings, *size, 0, 0, position) for position in range(8)]
    numbers = torch.tensor([_numbers(change) for change in changes])
    found = augment_triton.change(images, numbers, settings.pad)
    off = (found - apply_changes(as_float(images), changes, settings.pad)).abs().amax(dim=1) > 1e-5
    assert off.float().mean() < 1e-3  # pixels half way between two, which rounding sends to either
print("agrees")
"""
    places = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "training")))
    assert run(code, TRITON_INTERPRET="1", PYTHONPATH=places) == "agrees\n"


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_the_kernels_compile_without_a_gpu(capability, tmp_path):
    code = f"""
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bench.training.augment_triton import _change, _sum_grey
signature = dict(images="*u8", numbers="*fp32", grey="*fp32", height="i32", width="i32", pad="i32", strips="i32")
signature |= dict(most="constexpr", pixels="constexpr")
for kernel, types in ((_sum_grey, signature), (_change, signature | dict(changed="*fp32"))):
    source = ASTSource(kernel, dict((name, types[name]) for name in kernel.arg_names), dict(most=64, pixels=1024))
    print(len(triton.compile(source, target=GPUTarget("cuda", {capability}, 32)).asm["cubin"]) > 0)
"""
    assert apart.code(code, TRITON_CACHE_DIR=str(tmp_path)) == "True\nTrue\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("form", ["triton", "plain"])
def test_a_gpu_changes_images_as_a_cpu_does(form, monkeypatch):
    monkeypatch.setattr("bench.training.augment.kernel_name", lambda device: form)
    for settings in SETTINGS:
        images = drawn_images(16, 384, 128)
        changes = [draw_change(settings, 384, 128, 0, 1, 32 + offset) for offset in range(16)]
        expected = apply_changes(as_float(images), changes, settings.pad)
        found, again = (augment(images.cuda(), settings, 0, 1, 32) for _ in range(2))
        assert torch.equal(found, again)
        assert ((found.cpu() - expected).abs().amax(dim=1) > 1e-4).float().mean() < 1e-3
