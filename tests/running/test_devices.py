"""Devices by name: those that run cells are taken, any other is one sentence."""

from __future__ import annotations

import pytest
import torch

from bench.errors import UserError
from bench.running.devices import devices_at_hand, resolve_device


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_cpu_is_one_device(name):
    assert resolve_device(name) == "cpu" and devices_at_hand(name) == ("cpu",)


def test_auto_is_what_is_there():
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_all_gpus_are_taken_unless_one_is_named(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices_at_hand("auto") == devices_at_hand("cuda") == ("cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hpu", "runs are made on auto, cpu, cuda, cuda:N or mps alone"),
        ("meta", "runs are made on auto, cpu, cuda, cuda:N or mps alone"),
        ("xla:0", "runs are made on"),
        ("cpu:5", "all CPUs are one device; say cpu"),
        ("", "names no device"),
        ("gpu", "names no device"),
        ("cuda:", "names no device"),
        ("cuda:-1", "names no device"),
        ("cuda:99999999999999999999", "names no device"),
        ("cuda:77", "not usable here"),
        ("CPU", "names no device"),
        ("cpu\n", "names no device"),
        ("ünbekannt", "names no device"),
    ],
)
def test_other_names_are_one_sentence(name, words, bench, tmp_path):
    with pytest.raises(UserError, match=words) as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)
    assert devices_at_hand("cpu") == ("cpu",)


@pytest.mark.parametrize("command", [("run",), ("run", "--dry-run"), ("run", "--cluster", "debug"), ("perf",)])
def test_every_command_that_takes_a_device_refuses_it_with_code_2(command, bench, tiny_data, tmp_path):
    places = ("--results", tmp_path) if command[0] == "perf" else ("--results", tmp_path, "--data-dir", tiny_data)
    preset = () if command[0] == "perf" else ("--preset", "tiny", "--variants", "ViT")
    found = bench(*command, *preset, *places, "--device", "meta")
    assert found.code == 2 and "--device meta: runs are made on" in found.err and "Traceback" not in found.err
