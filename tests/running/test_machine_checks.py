"""What a machine or the data lack is found before the first run and before decoding."""

from __future__ import annotations

import pytest
import torch
from tiny_sets import MARKET, WRITERS, write_folders

from bench.errors import UserError
from bench.journal.provenance import check_kernel
from variants.kernels import native

RUN = ("run", "--preset", "tiny", "--variants", "cosine")


@pytest.fixture
def fresh_kernel(monkeypatch, tmp_path):
    """The compiled operator is neither loaded nor kept anywhere."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    monkeypatch.setattr(native, "library", native.library.__wrapped__)


@pytest.fixture
def refused(bench, tiny_data, tmp_path):
    """The message of a run that is refused with code 2, before anything is decoded."""

    def call(*arguments, data=None):
        found = bench(*RUN, *arguments, "--results", tmp_path / "results", "--data-dir", data or tiny_data)
        assert found.code == 2 and "Traceback" not in found.err
        assert not (tmp_path / "results" / "cache").exists() and not list((tmp_path / "results" / "runs").iterdir())
        return found.err

    return call


def test_an_unknown_kernel_is_found_before_the_first_run(refused, monkeypatch):
    monkeypatch.setenv("PAIRBENCH_KERNEL", "gpu")
    assert "PAIRBENCH_KERNEL must be cpu or plain, not 'gpu'" in refused()


def test_a_compiler_that_is_needed_and_missing_is_found_before_the_first_run(refused, monkeypatch, fresh_kernel):
    monkeypatch.setenv("PAIRBENCH_KERNEL", "cpu")
    monkeypatch.setenv("CXX", "no-such-compiler")
    message = refused()
    assert "no C++ compiler: no-such-compiler not found" in message and "PAIRBENCH_KERNEL" in message


def test_a_compiler_that_is_not_needed_may_be_missing(monkeypatch, fresh_kernel):
    monkeypatch.setenv("CXX", "no-such-compiler")
    for choice in ("", "plain"):
        monkeypatch.setenv("PAIRBENCH_KERNEL", choice)
        check_kernel(torch.device("cpu"))
    monkeypatch.setenv("PAIRBENCH_KERNEL", "cpu")
    check_kernel(None)  # another machine has compilers of its own
    with pytest.raises(UserError, match="no-such-compiler"):
        check_kernel(torch.device("cpu"))


@pytest.mark.parametrize("command", [("perf",), ("check-head", "cosine")])
def test_other_commands_that_match_say_the_same(command, bench, monkeypatch):
    monkeypatch.setenv("PAIRBENCH_KERNEL", "gpu")
    found = bench(*command)
    assert found.code == 2 and "PAIRBENCH_KERNEL must be cpu or plain" in found.err


def test_one_training_person_is_found_before_the_first_run(refused, tmp_path):
    data = tmp_path / "data"
    write_folders(data / "market", {**MARKET, "bounding_box_train": MARKET["bounding_box_train"][:2]})
    for name in ("cuhk03", "msmt"):
        WRITERS[name](data)
    message = refused("--train", "market", data=data)
    assert "market in" in message and "has 1 training person; matching can be learned from two on" in message
