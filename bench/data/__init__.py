"""The data sets: found, read and checked. `load_dataset` is what the rest of the suite calls."""

from bench.data.dataset import Dataset, ImageRecord
from bench.data.sets import NAMES, Description, describe, load_dataset

__all__ = ["NAMES", "Dataset", "Description", "ImageRecord", "describe", "load_dataset"]
