"""Files of weights: those that fit, those that are unwrapped, and what is said of all others."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.network.backbone import build_backbone

pytestmark = pytest.mark.slow


def saved(content: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def published(arch: str, ibn: str) -> dict[str, Tensor]:
    """A state as published: with the layers beyond the cut, without the counters that old files lack."""
    torch.manual_seed(7)
    last = "features.18" if arch == "mobilenet_v2" else "layer4"
    state = build_backbone(arch, ibn, last).stages.state_dict()
    classifier = "classifier.1" if arch == "mobilenet_v2" else "fc"
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    return state | {f"{classifier}.weight": torch.zeros(1000, 8), f"{classifier}.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return published("resnet18", "b")


@pytest.fixture
def load(tmp_path):
    """Build a ResNet-18 from a file of the given bytes; a UserError must be one line that names the file."""

    def call(content: bytes, arch="resnet18", ibn=None, cut=None) -> nn.Module:
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        try:
            return build_backbone(arch, ibn, cut, weights=path)
        except UserError as fault:
            assert "\n" not in str(fault) and str(path) in str(fault) and "delete it" not in str(fault)
            assert len(str(fault).replace(str(path), "")) < 400
            raise

    return call


def test_layers_beyond_the_cut_are_dropped_by_name(load, state):
    backbone = load(saved(state))
    assert torch.equal(backbone.stages.layer3[1].conv2.weight, state["layer3.1.conv2.weight"])
    assert len(backbone.weights_sha256) == 64


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"model": state, "epoch": 90, "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {"net": {"state_dict": state}, "acc": 71.5},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module._orig_mod.{key}": value for key, value in state.items()}},
        lambda state: {key: value.half().float() for key, value in state.items()},
        lambda state: {key: nn.Parameter(value) for key, value in state.items()},
    ],
)
def test_what_wraps_a_state_is_taken_off(load, state, wrap):
    found = load(saved(wrap(state))).stages.state_dict()
    assert torch.allclose(found["layer3.1.conv2.weight"], state["layer3.1.conv2.weight"], atol=1e-3)


def test_files_of_the_oldest_form_are_read(load, state):
    load(saved(state, _use_new_zipfile_serialization=False))


def test_the_name_features_is_the_networks_own_and_no_wrapping(load):
    features = {key: value for key, value in published("mobilenet_v2", "none").items() if "features" in key}
    backbone = load(saved(features), "mobilenet_v2")
    assert torch.equal(backbone.stages.features[13].conv[2].weight, features["features.13.conv.2.weight"])


NOT_WEIGHTS = {
    "it is empty": b"",
    "it is a web page, not weights; fetch the file": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "it is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n",
    "it is a text file, not weights": Path("/etc/passwd").read_bytes(),
    "it is an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "it is a compressed file": gzip.compress(b"x"),
    "it is a safetensors file": struct.pack("<Q", 20) + json.dumps({"__metadata__": {}}).encode().ljust(100),
    "it is no file that torch.save wrote": bytes(range(256)),
    r"a pickle of more than tensors \(argparse.Namespace\).*save the tensors alone": saved(argparse.Namespace(x=1)),
    r"a pickle of more than tensors \(torch.nn.modules.linear.Linear\)": saved(nn.Linear(2, 2)),
    "it is a pickle of more than tensors, which is not read since": pickle.dumps(argparse.Namespace(x=1)),
    "it is damaged, cut short": saved({"conv1.weight": torch.zeros(100)})[:-60],
    "it holds one Tensor instead of tensors by name": saved(torch.zeros(3)),
    "it holds epoch, acc instead of tensors by name": saved({"epoch": 3, "acc": 1.0}),
    "it holds nothing instead of tensors by name": saved({}),
    "of which model and net could each be the network": saved(
        {"model": {"a": torch.zeros(1)}, "net": {"a": torch.zeros(1)}}
    ),
    "beside tensors it holds 'epoch', a int": saved({"conv1.weight": torch.zeros(1), "epoch": 3}),
    "a is sparse, quantised or without data": saved({"a": torch.zeros(2, 2).to_sparse()}),
    "lacks keys: conv1.weight": saved({"a": torch.zeros(1)}),
}


@pytest.mark.parametrize("message", NOT_WEIGHTS)
def test_any_other_file_is_named_for_what_it_is(load, message):
    with pytest.raises(UserError, match=message):
        load(NOT_WEIGHTS[message])


def test_code_in_a_pickle_is_not_run(load, tmp_path):
    trap = tmp_path / "run"
    with pytest.raises(UserError, match="could run any code"):
        load(b"\x80\x02cos\nmkdir\nX" + struct.pack("<I", len(str(trap))) + str(trap).encode() + b"\x85R.")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "lacks keys: layer1.0.conv1.weight"),
        (lambda state: state.update({"layer1.9.a": torch.zeros(1)}), "unexpected keys: layer1.9.a"),
        (lambda state: state.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}), "64 x 1 x 7 x 7, not of 64 x 3 x 7"),
        (lambda state: state.update({"bn1.bias": torch.zeros(64).long()}), "bn1.bias holds numbers of another kind"),
        (lambda state: state["layer1.0.bn1.weight"].fill_(float("nan")), "not all numbers.*layer1.0.bn1.weight"),
        (lambda state: state["bn1.bias"].fill_(float("inf")), "not all numbers.*bn1.bias"),
        (lambda state: state["layer1.0.bn1.running_var"].sub_(9), "variances.*layer1.0.bn1.running_var"),
    ],
)
def test_states_that_cannot_be_this_network_are_refused(load, state, change, message):
    state = {key: value.clone() for key, value in state.items()}
    change(state)
    with pytest.raises(UserError, match=message):
        load(saved(state))


@pytest.mark.parametrize(
    ("has", "asked"),
    [
        (("resnet18", "b"), ("resnet18", "a")),
        (("resnet18", "b"), ("resnet18", "none")),
        (("resnet18", "none"), ("resnet34", "none")),
        (("resnet34", "a"), ("resnet18", "b")),
        (("mobilenet_v2", "none"), ("resnet18", "b")),
        (("resnet18", "none"), ("mobilenet_v2", "none")),
    ],
)
def test_another_known_network_is_recognised(load, has, asked):
    message = f"it holds {has[0]} with IBN {has[1]}, not {asked[0]} .*set backbone.arch={has[0]} and backbone.ibn"
    with pytest.raises(UserError, match=message):
        load(saved(published(*has)), *asked)


def test_a_file_that_ends_before_the_cut_says_what_it_lacks(load, state):
    short = {key: value for key, value in state.items() if not key.startswith(("layer4", "fc"))}
    load(saved(short))
    with pytest.raises(UserError, match="lacks keys: layer4"):
        load(saved(short), cut="layer4")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read weights from .*: Is a directory"):
        build_backbone("resnet18", weights=tmp_path)
    with pytest.raises(UserError, match="cannot read weights from /proc/self/mem: Input/output error"):
        build_backbone("resnet18", weights="/proc/self/mem")
