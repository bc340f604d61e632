"""Ten splits of each small set, drawn once (bench.data.draw) and never again: files of splits (bench.data.splits)."""
