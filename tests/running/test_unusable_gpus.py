"""A GPU that cannot be had is one sentence that says what to do; the command's own process computes nothing on it."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch

from bench.computing import why_unusable
from bench.errors import UserError
from bench.running import devices
from bench.running.devices import card_of, devices_at_hand, resolve_device
from bench.system.processes import Died

TOO_OLD = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update"


@pytest.fixture
def gpus(monkeypatch):
    """A machine that shows so many GPUs, with a driver that serves them or says why not."""

    def make(count: int, refusal: str = "") -> None:
        def available() -> bool:
            if refusal:
                warnings.warn(refusal, stacklevel=1)
            return count > 0 and not refusal

        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_available", available)
        monkeypatch.setattr(devices, "_gpus_there", lambda: True)

    return make


@pytest.fixture
def tried(monkeypatch):
    """What comes of trying a GPU in a process of its own."""

    def end_with(fault: Exception) -> None:
        def fail(*_: object) -> None:
            raise fault

        monkeypatch.setattr(devices, "call_apart", fail)
        monkeypatch.setattr(devices, "forking", lambda _: None)

    yield end_with
    card_of.cache_clear()


def refused(name: str) -> str:
    with pytest.raises(UserError) as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_gpu_beyond_those_that_are_there_is_told_with_those(gpus):
    gpus(2)
    assert resolve_device("cuda:1") == "cuda:1" and devices_at_hand("cuda:1") == ("cuda:1",)
    assert "--device cuda:7: not usable here (there is cuda:0 to cuda:1)" in refused("cuda:7")
    gpus(1)
    assert "there is cuda:0 alone" in refused("cuda:1")


@pytest.mark.parametrize("shown", ["", "-1", "abc", "0,0", "GPU-00000000"])
def test_a_variable_that_hides_all_gpus_is_named(shown, gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    gpus(0)
    assert f"CUDA_VISIBLE_DEVICES={shown!r} shows none of this machine's GPUs; name them as 0" in refused("cuda")


@pytest.mark.parametrize("shown", ["", "-1", "NoDevFiles"])
def test_gpus_that_are_hidden_on_purpose_leave_auto_the_cpu(shown, gpus, monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    gpus(0)
    assert resolve_device("auto") == "cpu" and not caplog.records


def test_gpus_that_are_hidden_by_nonsense_are_no_reason_to_train_on_a_cpu(gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "abc")
    gpus(0)
    assert "--device auto: CUDA_VISIBLE_DEVICES='abc'" in refused("auto") and "say --device cpu" in refused("auto")
    monkeypatch.setattr(devices, "_gpus_there", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_a_driver_that_is_too_old_is_told_and_auto_takes_the_cpu(gpus, caplog):
    gpus(1, TOO_OLD)
    message = refused("cuda")
    assert "driver is too old for this build of PyTorch" in message and torch.__version__ in message
    with caplog.at_level(logging.WARNING):
        assert resolve_device("auto") == "cpu"
    assert len(caplog.records) == 1 and "the CPU is taken" in caplog.text and "too old" in caplog.text


def test_a_build_for_cpus_says_so(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert "is for CPUs alone; install one for GPUs" in refused("cuda") and resolve_device("auto") == "cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_without_a_gpu_the_machine_is_believed(name, bench, tmp_path, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "nonsense")
    found = bench("perf", "--results", tmp_path, "--device", name)
    assert found.code == 2 and f"--device {name}: not usable here (" in found.err and "Traceback" not in found.err
    assert not list(tmp_path.iterdir())


def test_nothing_is_computed_on_a_gpu_to_find_out_whether_it_is_there(gpus, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("this would take hold of the GPU")

    gpus(2)
    for name in ("_lazy_init", "set_device", "mem_get_info", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, never)
    for name in ("zeros", "ones", "empty"):
        monkeypatch.setattr(torch, name, never)
    assert devices_at_hand("auto") == ("cuda:0", "cuda:1") and resolve_device("cuda:1") == "cuda:1"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might", "exclusive mode"),
        ("CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has", "its memory is full"),
        ("CUDA error: out of memory", "its memory is full"),
        (TOO_OLD, "update the driver"),
        ("CUDA driver version is insufficient for CUDA runtime version", "update the driver"),
        ("Error 804: forward compatibility was attempted on non supported HW", "update the driver"),
        ("CUDA error: no kernel image is available for execution on the device", "no code for this kind of GPU"),
        ("Found no NVIDIA driver on your system. Please check", "no NVIDIA driver is found"),
        ("CUDA error: invalid device ordinal", "there is no such GPU"),
        ("\nSomething new. It goes on", "Something new"),
        ("", "torch does not say why"),
    ],
)
def test_what_torch_says_becomes_one_line(said, words):
    told = why_unusable(said)
    assert words in told and "\n" not in told and "{" not in told and not told.endswith(".")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (UserError("cuda:1 cannot be used: its memory is full"), "cuda:1 cannot be used: its memory is full; try"),
        (Died(-9), "a process that tries it was ended by SIGKILL"),
    ],
)
def test_a_gpu_that_fails_its_trial_is_refused(fault, words, tried):
    tried(fault)
    with pytest.raises(UserError, match=words) as caught:
        card_of("cuda:1")
    assert "--device cpu" in str(caught.value)


@pytest.mark.slow
def test_a_gpu_that_is_not_there_fails_its_trial():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="cuda:0 cannot be used: "):
        card_of("cuda:0")
