"""`bench list` with an installed head that cannot be used."""

from __future__ import annotations


def test_it_is_named_with_its_reason_and_all_others_are_listed(bench, tmp_path, monkeypatch):
    info = tmp_path / "bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pairbench.variants]\nbad\x1b[31m = plug_absent\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = bench("list")
    assert found.code == 0 and "transmatcher" in found.out and "presets:" in found.out
    [line] = [line for line in found.out.splitlines() if "cannot be used" in line]
    assert "offered by bad" in line and "plug_absent" in line and "\x1b" not in line
    refused = bench("run", "--variants", "bad\x1b[31m", "--dry-run")
    assert refused.code == 2 and "plug_absent" in refused.err
