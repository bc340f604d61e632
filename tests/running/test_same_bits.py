"""The same command gives the same bits, what its backbone starts from included, however many work at it."""

from __future__ import annotations

import pytest

from bench.journal.record import read_records
from bench.starts import named


@pytest.mark.slow
def test_the_same_command_twice_gives_the_same_bits_from_the_start_on(bench, tiny_data, tmp_path, monkeypatch):
    found = []
    for number, beside in enumerate((("--workers", "1", "--jobs", "1"), ("--workers", "3", "--jobs", "2"))):
        results = tmp_path / f"results{number}"
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / f"cache{number}"))
        command = ("run", "--variants", "TransMatcher,cosine", "--train", "msmt", "--preset", "tiny")
        done = bench(*command, "--data-dir", tiny_data, "--results", results, *beside)
        assert done.code == 0 and "2 done" in done.out
        assert done.err.count("teaching resnet18 drawn things, once") == 1
        found.append(list(read_records(results)))
    first, second = found
    assert len(first) == 2
    for one, other in zip(first, second, strict=True):
        assert one.config == other.config and one.config.backbone.weights == named("standin_tiny")
        assert one.provenance.weights_sha256 == other.provenance.weights_sha256 is not None
        assert one.cell == other.cell and one.weights_hash == other.weights_hash
        for result, again in zip(one.tests, other.tests, strict=True):
            assert result.first_rank == again.first_rank and result.average_precision == again.average_precision
