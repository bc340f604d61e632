"""What a job on a cluster needs of the code is frozen with it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from places import ROOT

from slurm.snapshot import freeze


def test_all_files_of_the_packages_that_runs_read_are_frozen(tmp_path):
    frozen = freeze(tmp_path).path
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    read_by_runs = {package: patterns for package, patterns in told.items() if not package.startswith("bench.report")}
    assert len(told) == len(read_by_runs) + 1
    for package, patterns in read_by_runs.items():
        folder = Path(*package.split("."))
        for file in (file for pattern in patterns for file in (ROOT / folder).glob(pattern)):
            if file.name != "dev-cluster":  # not for runs
                assert (frozen / folder / file.name).read_bytes() == file.read_bytes()
    assert len(list((frozen / "bench" / "data" / "shipped").glob("*.json"))) == 4
