"""Matching heads: ways of scoring how alike two images are.

    from variants import build, names
    head = build("transmatcher", feature_shape=(512, 24, 8), feedforward=2048, layers=3)

One file of this folder is one head, found by its file name; nothing else needs editing to add one. Heads outside
the repository are found under the entry point group `pairbench.variants`, or given as a path to a Python file.
The catalogue is read from source text, so listing heads and checking their options costs no import of torch.

May import nothing of `bench`, `slurm` or `results`.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from variants._catalogue import HERE, HeadInfo, Option, built_in_names, read_built_in, read_file
from variants._errors import HeadError
from variants._plugins import GROUP as ENTRY_POINT_GROUP
from variants._plugins import plugins, unusable, usable

if TYPE_CHECKING:
    from variants._base import Head

__all__ = [
    "ENTRY_POINT_GROUP",
    "HeadError",
    "HeadInfo",
    "Option",
    "build",
    "check_options",
    "describe",
    "names",
    "unusable",
]

SHARED_NUMERICS = 2
"""Raised whenever `_layers` or `kernels` change the numbers of heads."""


def names() -> tuple[str, ...]:
    """All heads that can be named: the files of this folder, then those that installed packages offer."""
    return (*built_in_names(), *(info.name for info in usable()))


def describe(name: str) -> HeadInfo:
    """The catalogue entry of a head, given by name or as a path to a Python file.

    Raises HeadError for an unknown name (listing the known ones), a file without exactly one public class, and for
    heads from outside that import files of their own (`_imports`), or have a name that cannot stand in a table.
    """
    if name.endswith(".py"):
        return read_file(Path(name))
    if name in built_in_names():
        return read_built_in(name)
    for plugin in plugins():
        if plugin.name == name:
            return plugin.read()
    if Path(f"{name}.py").is_file():
        raise HeadError(f"unknown head {name!r}; for the file of that name say {name}.py")
    raise HeadError(f"unknown head {name!r}{_nearest(name, names())}; known heads: {', '.join(names())}")


def check_options(info: HeadInfo, options: dict[str, Option]) -> None:
    """Raise HeadError for an option that the head does not take, or for a value of the wrong type."""
    for key, value in options.items():
        if key not in info.options:
            known = ", ".join(info.options) or "none"
            raise HeadError(
                f"head {info.name!r} has no option {key!r}{_nearest(key, info.options)}; its options: {known}"
            )
        default = info.options[key]
        number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
        if default is not None and type(value) is not type(default) and not number:
            kind = type(default).__name__
            raise HeadError(f"head {info.name!r}: option {key!r} takes a value of type {kind}, not {value!r}")


def build(name: str, feature_shape: tuple[int, int, int], **options: Option) -> Head:
    """Construct the head `name` (or the one in the file `name`) for feature maps of shape (d, h, w).

    Raises HeadError for unknown heads and options, ValueError for values that a head refuses. Random initial
    weights are drawn from torch's global generator: seed it, or fork it, around the call.
    """
    info = describe(name)
    check_options(info, options)
    from variants._base import Head

    head_class = getattr(_load(info), info.class_name, None)
    if not (isinstance(head_class, type) and issubclass(head_class, Head)):
        raise HeadError(f"{info.path}: {info.class_name} must inherit from variants._base.Head")
    return head_class(tuple(feature_shape), **options)


def _nearest(word: str, known: object) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _load(info: HeadInfo) -> ModuleType:
    if info.path.parent == HERE:
        return importlib.import_module(f"variants.{info.path.stem}")
    try:
        return importlib.import_module(info.module) if info.module else _load_file(info)
    except (Exception, SystemExit) as fault:
        raise HeadError(f"{info.path} cannot be imported: {type(fault).__name__}: {fault}") from fault


def _load_file(info: HeadInfo) -> ModuleType:
    """The module made of the very text that the digest was taken of, whatever the file holds by now."""
    name = f"variants_outside_{info.digest[:16]}"
    if name not in sys.modules:
        module = ModuleType(name, info.summary)
        module.__file__ = str(info.path)
        sys.modules[name] = module
        try:
            exec(compile(info.source, str(info.path), "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
