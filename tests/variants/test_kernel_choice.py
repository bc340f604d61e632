"""Which form of the matching operator a GPU gets, told by what it has; GPUs are played."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from variants.kernels import choice, kernel_name, native, plain, usable_kernel

GPU = torch.device("cuda", 1)


@pytest.fixture
def gpu(monkeypatch):
    """A played GPU of some compute capability, on which launching one pair does as told."""

    def play(capability: tuple[int, int], launch=lambda device: None) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        monkeypatch.setitem(
            sys.modules, "variants.kernels.maxima_triton", SimpleNamespace(match_one_pair=launch, forward=None)
        )
        choice._tried.cache_clear()

    yield play
    choice._tried.cache_clear()


def test_a_gpu_with_matrix_instructions_runs_triton_and_is_tried_once(gpu, caplog):
    tried = []
    gpu((8, 0), tried.append)
    assert usable_kernel(GPU) is None and kernel_name(GPU) == "triton" == kernel_name(torch.device("cuda"))
    assert tried == [GPU] and not caplog.messages
    assert choice.path(GPU, torch.bfloat16) is sys.modules["variants.kernels.maxima_triton"]
    assert choice.path(GPU, torch.float64) is plain


@pytest.mark.parametrize("capability", [(6, 1), (7, 0), (7, 5)])
def test_an_older_gpu_runs_plain_pytorch_without_compiling_anything(gpu, caplog, capability):
    def compile_and_abort(device):
        raise AssertionError("compiled")

    gpu(capability, compile_and_abort)
    for _ in range(2):
        assert usable_kernel(GPU) == f"compute capability {capability[0]}.{capability[1]}, below 8.0"
        assert kernel_name(GPU) == "plain" and choice.path(GPU, torch.float16) is plain
    (message,) = caplog.messages
    assert message.startswith(
        "matching runs in plain PyTorch, several times slower: no Triton kernel on cuda:1 (compute"
    )


def test_a_kernel_that_cannot_be_compiled_costs_one_warning_and_no_run(gpu, caplog):
    def launch(device):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    gpu((9, 0), launch)
    assert {usable_kernel(GPU) for _ in range(3)} == {"RuntimeError: Failed to find C compiler."}
    assert kernel_name(GPU) == "plain" and len(caplog.messages) == 1


def test_a_missing_triton_is_told(gpu, monkeypatch):
    gpu((9, 0))
    monkeypatch.setitem(sys.modules, "variants.kernels.maxima_triton", None)
    assert usable_kernel(GPU).startswith("ModuleNotFoundError: ") and kernel_name(GPU) == "plain"


def test_an_amd_gpu_runs_plain_pytorch(gpu, monkeypatch):
    gpu((9, 4))
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert "AMD" in usable_kernel(GPU) and kernel_name(GPU) == "plain"


def test_plain_pytorch_asked_for_touches_no_gpu(monkeypatch):
    monkeypatch.setenv("PAIRBENCH_KERNEL", "plain")
    monkeypatch.setattr(choice, "usable", lambda device: pytest.fail("touched"))
    assert kernel_name(GPU) == "plain"


def test_other_devices_have_no_triton_kernel():
    assert usable_kernel(torch.device("cpu")) == "cpu is no NVIDIA GPU"
    assert kernel_name(torch.device("mps")) == "plain"
    assert kernel_name(torch.device("cpu")) == ("plain" if native.library() is None else "compiled")
