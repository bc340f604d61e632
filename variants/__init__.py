"""Matching heads: ways of scoring how alike two images are.

    from variants import build, names
    head = build("transmatcher", feature_shape=(512, 24, 8), feedforward=2048, layers=3)

One file of this folder is one head, found by its file name; nothing else needs editing to add one. Heads outside
the repository are found under the entry point group `pairbench.variants`, or given as a path to a Python file.
The catalogue is read from source text, so listing heads and checking their options costs no import of torch.

May import nothing of `bench`, `slurm` or `results`.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from variants._base import Head

SHARED_NUMERICS = 2
"""Raised whenever `_layers` or `kernels` change the numbers of heads."""

LONGEST_NAME = 100
"""Bytes of a head's name: folders' names, of which it is a part, may have 255."""

ENTRY_POINT_GROUP = "pairbench.variants"
_HERE = Path(__file__).parent

Option = bool | int | float | str | None


class HeadError(ValueError):
    """An unknown head or option, or a file that holds no head. The message names the valid ones."""


@dataclass(frozen=True)
class HeadInfo:
    """What is known of a head without importing it.

    `options` maps each keyword-only argument of the head's constructor to its default. `digest` is the SHA-256 of
    the source for heads from outside this package, whose author may not raise `numerics`; "" for built-in heads.
    """

    name: str
    class_name: str
    summary: str
    options: dict[str, Option]
    numerics: int
    path: Path
    digest: str = ""


def names() -> tuple[str, ...]:
    """All heads that can be named: the files of this folder, then those of installed entry points."""
    built_in = sorted(path.stem for path in _HERE.glob("[a-z]*.py"))
    outside = sorted(point.name for point in metadata.entry_points(group=ENTRY_POINT_GROUP))
    return tuple(dict.fromkeys([*built_in, *outside]))


def describe(name: str) -> HeadInfo:
    """The catalogue entry of a head, given by name or as a path to a Python file.

    Raises HeadError for an unknown name (listing the known ones) or a file without exactly one public class.
    """
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise HeadError(f"no such head file: {path}")
        return _read(path, outside=True)
    if (_HERE / f"{name}.py").is_file() and not name.startswith("_"):
        return _read(_HERE / f"{name}.py", outside=False)
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            spec = importlib.util.find_spec(point.module)
            if spec is None or spec.origin is None:
                raise HeadError(f"head {name!r} is announced by an entry point, but {point.module} is not installed")
            return _read(Path(spec.origin), outside=True, name=name)
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

    head_class = getattr(_load(info), info.class_name)
    if not issubclass(head_class, Head):
        raise HeadError(f"{info.path}: {info.class_name} must inherit from variants._base.Head")
    return head_class(tuple(feature_shape), **options)


def _nearest(word: str, known: object) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _check_name(name: str) -> None:
    """A head's name is a row's label and a part of folders' names."""
    size = len(os.fsencode(name))
    if not name.isprintable() or "/" in name or name.startswith("."):
        raise HeadError(
            f"{name!r} cannot name a head: let its name be letters that can be printed, without / or a dot first"
        )
    if size > LONGEST_NAME:
        raise HeadError(f"the name of the head {name[:20]}... takes {size} bytes; let it take at most {LONGEST_NAME}")


def _read(path: Path, outside: bool, name: str | None = None) -> HeadInfo:
    _check_name(name or path.stem)
    source = path.read_text(encoding="utf-8")
    try:
        module = ast.parse(source)
    except SyntaxError as fault:
        raise HeadError(f"{path}, line {fault.lineno}: not valid Python ({fault.msg})") from fault
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    if len(classes) != 1:
        found = ", ".join(node.name for node in classes) or "none"
        raise HeadError(f"{path} must define exactly one public class, the head; found: {found}")
    head = classes[0]
    summary = (ast.get_docstring(head) or "").strip().split("\n", 1)[0]
    digest = hashlib.sha256(source.encode()).hexdigest() if outside else ""
    inherited = _base_info(module, head)
    options = _options(head, path)
    if options is None:
        options = inherited.options if inherited else {}
    numerics = _numerics(head, path) or (inherited.numerics if inherited else 1)
    return HeadInfo(name or path.stem, head.name, summary, options, numerics, path, digest)


def _base_info(module: ast.Module, head: ast.ClassDef) -> HeadInfo | None:
    """The catalogue entry of a built-in head from which a head inherits, as in `vit.ViT` or `ViT`; else None."""
    for base in head.bases:
        word = base.value.id if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) else None
        if isinstance(base, ast.Name):
            imports = [node for node in module.body if isinstance(node, ast.ImportFrom) and node.module]
            word = next((n.module.split(".")[-1] for n in imports if base.id in {a.name for a in n.names}), None)
        if word and not word.startswith("_") and (_HERE / f"{word}.py").is_file():
            return _read(_HERE / f"{word}.py", outside=False)
    return None


def _options(head: ast.ClassDef, path: Path) -> dict[str, Option] | None:
    """The keyword-only options of the head's own constructor; None if it has none of its own."""
    for node in head.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            try:
                return {argument.arg: ast.literal_eval(default) for argument, default in pairs}
            except (ValueError, TypeError) as fault:
                raise HeadError(f"{path}: every keyword option of {head.name} needs a literal default") from fault
    return None


def _numerics(head: ast.ClassDef, path: Path) -> int | None:
    """The head's own `numerics`; None if it says nothing of it."""
    for node in head.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "numerics":
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if type(value) is not int or value < 1:
                raise HeadError(f"{path}: `numerics` must be a whole number from 1, written out")
            return value
    return None


def _load(info: HeadInfo) -> object:
    if info.path.parent == _HERE:
        return importlib.import_module(f"variants.{info.path.stem}")
    module_name = f"variants_outside_{info.digest[:16]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, info.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as fault:
            del sys.modules[module_name]
            raise HeadError(f"{info.path} cannot be imported: {type(fault).__name__}: {fault}") from fault
    return sys.modules[module_name]
