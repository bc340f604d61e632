"""One file a data set: where it lies, how its files are named, what is read. `bench.data.registry` lists them by name.

May import what reading shares (`listing`, `reading`, `filenames`) and `dataset`.
"""
