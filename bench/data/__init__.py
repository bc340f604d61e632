"""The data sets: found, read and checked; their images decoded and kept. `load_dataset` is the way in.

May import none of the other rooms.
"""

from bench.data.dataset import Dataset, ImageRecord, Split
from bench.data.registry import NAMES, Description, describe, load_dataset

__all__ = ["NAMES", "Dataset", "Description", "ImageRecord", "Split", "describe", "load_dataset"]
