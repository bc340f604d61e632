"""Weights under other names: recognised by order and shape, refused, and converted."""

from __future__ import annotations

import re

import pytest
import torch
from torchvision.models import MobileNetV2

from bench.errors import UserError
from bench.network.backbone import build_backbone
from bench.network.weight_keys import convert

CHOICES = [("mobilenet_v2", "none"), ("resnet18", "b"), ("resnet18", "none"), ("resnet18", "a")]


def foreign(arch: str, ibn: str) -> dict[str, torch.Tensor]:
    """A state of the whole network whose keys are numbered units, with a classifier behind it."""
    torch.manual_seed(2)
    last = "features.18" if arch == "mobilenet_v2" else "layer4"
    state = build_backbone(arch, ibn, last).stages.state_dict()
    names = {key: f"unit{number}.{key.split('.')[-1]}" for number, key in enumerate(state)}
    return {names[key]: value for key, value in state.items()} | {"output.weight": torch.zeros(10, 4)}


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "ibn"), CHOICES)
def test_they_are_refused_with_the_command_that_converts_them(bench, tmp_path, arch, ibn):
    theirs, ours = tmp_path / "theirs.pth", tmp_path / "ours.pth"
    state = foreign(arch, ibn)
    torch.save(state, theirs)
    command = f"bench weights convert {theirs} --arch {arch} --ibn {ibn} --out PATH"
    with pytest.raises(UserError, match=f"match {arch} with IBN {ibn} in order and shape but not in name") as refused:
        build_backbone(arch, ibn, weights=theirs)
    assert f"`{command}`" in str(refused.value)
    found = bench(*command.replace("PATH", str(ours)).split()[1:])
    assert found.code == 0 and f"--set backbone.weights={ours}" in found.out
    backbone = build_backbone(arch, ibn, weights=ours)
    wanted = [value for key, value in state.items() if value.dim() and not key.startswith("output")]
    kept = [value for key, value in backbone.stages.state_dict().items() if value.dim()]
    assert all(map(torch.equal, kept, wanted))


def test_torchvisions_own_names_are_the_published_ones():
    state = MobileNetV2().state_dict()
    assert all(torch.equal(value, state[key]) for key, value in convert(state, "mobilenet_v2", "none").items())


def test_a_file_that_ends_at_the_cut_is_enough():
    state = build_backbone("resnet18", "b").stages.state_dict()
    renamed = {key.replace("layer", "stage"): value for key, value in state.items()}
    assert list(convert(renamed, "resnet18", "b")) == [key for key in state if not key.endswith("tracked")]
    with pytest.raises(ValueError, match=r"the file holds .* tensors, resnet18 .* up to the cut"):
        convert(renamed, "resnet18", "b", "layer4")


def test_a_deeper_network_is_not_taken_for_the_first_layers_of_a_shallower_one():
    with pytest.raises(ValueError, match=r"where resnet50 .* has layer4.0.conv1.weight of 512 x 1024 x 1 x 1"):
        convert(build_backbone("resnet101", "none", "layer4").stages.state_dict(), "resnet50", "none")


def swapped(first: str, second: str) -> dict[str, torch.Tensor]:
    """A state in which two tensors of the same shape have changed places."""
    state = foreign("resnet18", "none")
    keys = list(state)
    one, two = (next(number for number, key in enumerate(keys) if key.endswith(word)) for word in (first, second))
    keys[one], keys[two] = keys[two], keys[one]
    return {key: state[key] for key in keys}


def test_names_that_say_another_order_are_believed():
    with pytest.raises(ValueError, match=r"running_mean of 64, where .* has bn1.bias of 64"):
        convert(swapped("bias", "running_mean"), "resnet18", "none")


def test_tensors_that_cannot_be_variances_are_not_taken_for_them():
    state = {f"unit{number}": value for number, value in enumerate(foreign("resnet18", "none").values())}
    state["unit4"] = -state["unit4"]
    with pytest.raises(ValueError, match=r"unit4 of 64, where .* has bn1.running_var"):
        convert(state, "resnet18", "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--arch", "mobilenet_v2", "--ibn", "a"), "unknown kind of IBN of mobilenet_v2 'a'; known: none"),
        (("--arch", "mobilenet_v2"), "cannot convert .*: tensor 1 of the file is unit0.weight of 64 x 3 x 7 x 7"),
        (("--arch", "resnet18", "--out", "theirs.pth"), "theirs.pth exists; give another --out"),
        (("--arch", "resnet18", "--out", "/proc/new.pth"), "cannot write /proc/new.pth"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing_behind(bench, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    torch.save(foreign("resnet18", "b"), "theirs.pth")
    found = bench("weights", "convert", "theirs.pth", "--out", "ours.pth", *arguments)
    assert found.code == 2
    assert re.search(message, found.err) and [path.name for path in tmp_path.iterdir()] == ["theirs.pth"]
