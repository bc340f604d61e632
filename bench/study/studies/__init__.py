"""Studies: the tables of the paper as lists of rows (YAML); imports nothing."""
