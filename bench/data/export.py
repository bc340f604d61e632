"""Any known set as the CSV file of a set of one's own, and an example of such a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data.dataset import UNKNOWN, Dataset, ImageRecord

TEMPLATE = """\
# A set of one's own: `bench run --train my.csv`, `--test my.csv,market`, `bench data check my.csv`.
# Lines that begin with # before the header are comments. A line of the table is an image:
#   label       who or what it shows, a text or a number (also: identity, pid)
#   path        its picture, relative to the folder of this file (also: filepath, image)
#   split       train, validation or test; tests are made on test, or where there is none on validation
#   is_query    True for images that are looked for; of train nothing need be said
#   is_gallery  True for images that are looked through; True in both: one against the rest, itself left out
# These may be left out, as a whole or here and there:
#   camera      who took it (also: camid, camera_id, position): of the same label and camera nothing counts for a query
#   sequence    images of a query's own sequence do not count for it
#   x_1,y_1,x_2,y_2  the part of the picture that is the image, in pixels (also: bbox, as "x, y, width, height")
label,path,split,is_query,is_gallery,camera,sequence,x_1,y_1,x_2,y_2
rex,pictures/0001.jpg,train,,,garden,1,10,20,110,220
rex,pictures/0002.jpg,train,,,street,2,,,,
ida,pictures/0003.jpg,train,,,garden,3,0,0,64,128
ida,pictures/0004.jpg,train,,,street,4,0,0,64,128
bo,pictures/0005.jpg,test,True,False,garden,5,12,8,76,136
bo,pictures/0006.jpg,test,False,True,street,6,30,8,94,136
lu,pictures/0007.jpg,test,True,True,garden,7,5,5,69,133
lu,pictures/0008.jpg,test,True,True,street,8,5,5,69,133
"""


def exported(dataset: Dataset, folder: Path) -> str:
    """A set as a CSV file in `folder`: its images in their order, paths relative to the folder.

    Cameras are left out where they are not known. Of a small set all images of both sides are one test.
    """
    import pandas

    unknown = dataset.one_side or len({record.camera for record in (*dataset.train, *dataset.test_images)}) < 2
    base = str(folder.absolute())
    lines = [
        (record.person, os.path.relpath(record.path, base), split, query, gallery, _camera(record, unknown))
        for record, split, query, gallery in _images(dataset)
    ]
    frame = pandas.DataFrame(lines, columns=["label", "path", "split", "is_query", "is_gallery", "camera"])
    if unknown:
        frame = frame.drop(columns="camera")
    return frame.to_csv(index=False, lineterminator="\n")


def _camera(record: ImageRecord, unknown: bool) -> int | str:
    return "" if unknown or record.camera == UNKNOWN else record.camera


def _images(dataset: Dataset) -> Iterator[tuple[ImageRecord, str, bool, bool]]:
    """Each image with its split, and whether it is query and gallery."""
    for record in dataset.train:
        yield record, "train", False, False
    query, gallery = (_flags(side, len(dataset.test_images)) for side in dataset.sides)
    for record, is_query, is_gallery in zip(dataset.test_images, query, gallery, strict=True):
        yield record, "test", is_query, is_gallery


def _flags(places: Sequence[int], count: int) -> list[bool]:
    flags = [False] * count
    for place in places:
        flags[place] = True
    return flags
