"""Presets: recipes that scale all rows of a study alike (YAML); imports nothing."""
