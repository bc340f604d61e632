"""What a head from outside may import: nothing that can change without a change of the head's digest.

A file beside a head would be found or not by the present folder, be missing in a cluster's job, and its changes would
be seen by no run's id. Installed packages are taken as they are: records name the versions of those that matter most.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

from variants._errors import HeadError

OF_THE_SUITE = ("variants", "torch", "torchvision", "triton", "numpy")
"""Taken from wherever they lie: a run's id or record tells their versions."""

INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages, under whatever prefix."""

INDIRECT = {
    "__import__",
    "exec_module",
    "import_module",
    "load_module",
    "load_source",
    "run_module",
    "run_path",
    "spec_from_file_location",
}
"""Functions that bring in code whose name need not be written out."""


def check_imports(module: ast.Module, path: Path, own_package: str = "") -> None:
    """Raise HeadError if the source in `path` imports files that lie beside it or anywhere but in installed packages.

    `own_package` is the package to which the source belongs, all of whose files are in its digest; "" for a file by
    itself. Looks at the text alone, wherever in it an import stands: nothing is imported.
    """
    for line, name in _imported(module, path):
        if name == ".":
            if own_package:
                continue
            _refuse(path, line, "has a relative import, but a head is one file")
        top = name.split(".")[0]
        if top in (*OF_THE_SUITE, own_package) or top in sys.stdlib_module_names:
            continue
        place = _place_outside(top, path.parent)
        if place is not None:
            _refuse(path, line, f"imports {top} from {place}, whose changes no run's id would show")


def _refuse(path: Path, line: int, problem: str) -> None:
    raise HeadError(
        f"{path}, line {line}: {problem}; move what it needs into the file, or into an installed package (not an "
        "editable one)"
    )


def _imported(module: ast.Module, path: Path) -> Iterator[tuple[int, str]]:
    """(line, name) of every module that is imported by name; "." for a relative import."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." if node.level else str(node.module)
        indirect = _indirect(node)
        if indirect:
            raise HeadError(
                f"{path}, line {node.lineno}: `{indirect}` can bring in code that no run's id would show; use plain "
                "import statements of installed packages"
            )


def _indirect(node: ast.AST) -> str:
    """The name of what brings in code in another way than an import statement, or ""."""
    if isinstance(node, ast.Name) and node.id in INDIRECT | {"exec", "eval"}:
        return node.id
    if isinstance(node, ast.Attribute):
        if node.attr in INDIRECT:
            return node.attr
        if node.attr == "path" and isinstance(node.value, ast.Name) and node.value.id == "sys":
            return "sys.path"
    if isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
        if node.module == "sys" and "path" in names:
            return "sys.path"
        return next(iter(sorted(names & INDIRECT)), "")
    return ""


def _place_outside(top: str, beside: Path) -> Path | None:
    """Where a top-level module lies if that is no installed package; None if it is one, or is nowhere to be found."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is not None:
        return next((place for place in _places(spec) if not set(INSTALLED) & set(place.parts)), None)
    return next((place for place in (beside / f"{top}.py", beside / top) if place.exists()), None)


def _places(spec: ModuleSpec) -> list[Path]:
    if spec.has_location and spec.origin:
        return [Path(spec.origin)]
    return [Path(place) for place in spec.submodule_search_locations or ()]
