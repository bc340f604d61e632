"""What is asked for: a study (a table of the paper) and a preset make cells.

`studies/` and `presets/` hold one YAML file each. May import data (names of the sets) and journal.
"""
