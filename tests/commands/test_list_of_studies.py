"""`bench list studies`: what each study is made of."""

from __future__ import annotations


def test_each_study_is_listed_with_its_runs_and_test_sets(bench):
    found = bench("list", "studies")
    assert found.code == 0
    told = {line.split()[0] for line in found.out.splitlines() if line.startswith("  ") and line[2] != " "}
    assert {"tabled", "protocol1", "protocol2", "protocol3", "single_source"} <= told
    assert {"figure2", "figured", "appendix_c", "table1", "table2", "table3"} <= told
    assert "68 runs: 17 rows x 1 training set x 4 seeds" in found.out
    assert "60 runs: 5 rows x 3 training sets x 4 seeds" in found.out
    assert "test: viper, prid, grid, ilids" in found.out and "test: prid, grid, viper, ilids" in found.out
    assert "swept: width 64, 128, 256, 512, 1024; feedforward" in found.out
