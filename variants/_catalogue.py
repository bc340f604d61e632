"""What is known of a head from its source text alone, without importing it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from variants._errors import HeadError
from variants._imports import check_imports

HERE = Path(__file__).parent

MOST_LETTERS = 64
"""Of a head's name: with training set, seed and hash it names a folder, a job and a row."""

SUFFIXES = (".py", ".so", ".c", ".cpp", ".cu", ".h", ".json", ".yaml", ".toml")
"""Files of an installed package that can change what its head computes."""

Option = bool | int | float | str | None


@dataclass(frozen=True)
class HeadInfo:
    """What is known of a head without importing it.

    `options` maps each keyword-only argument of the head's constructor to its default. `digest` is the SHA-256 of
    the source for heads from outside this package, whose author may not raise `numerics`; "" for built-in heads.
    `source` is the text that the digest was taken of, and `module` the name under which an installed package imports
    the head; both are "" where they do not apply. `later` holds the head's `later_options`.
    """

    name: str
    class_name: str
    summary: str
    options: dict[str, Option]
    numerics: int
    path: Path
    digest: str = ""
    source: str = field(default="", repr=False)
    module: str = ""
    later: tuple[str, ...] = ()

    def identifying(self, options: dict[str, Option]) -> dict[str, Option]:
        """The options that are part of a run's identity: all but the later ones at their defaults."""
        return {key: value for key, value in options.items() if key not in self.later or value != self.options[key]}


def built_in_names() -> list[str]:
    """The heads of this package, one a file."""
    return sorted(path.stem for path in HERE.glob("[a-z]*.py"))


def read_built_in(name: str) -> HeadInfo:
    """The entry of a head of this package."""
    return _read(HERE / f"{name}.py", name)[1]


def read_file(path: Path) -> HeadInfo:
    """The entry of the head in a file from outside. Raises HeadError if there is none, or none that can be used."""
    try:
        if not path.exists():
            raise HeadError(f"no such head file: {path}")
        if not path.is_file():
            raise HeadError(f"{path} is no file, but {'a folder' if path.is_dir() else 'a device or pipe'}")
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    _check_name(path.stem, "the file's name")
    module, info = _read(path, path.stem)
    check_imports(module, path)
    return replace(info, digest=hashlib.sha256(info.source.encode()).hexdigest())


def read_module(name: str, module: str, path: Path, package: Path | None) -> HeadInfo:
    """The entry of the head that an installed package offers under `name` in the file of one of its modules.

    `package` is the outermost folder of the package, whose files may import one another: its digest covers them all.
    """
    _check_name(name, "its name")
    tree, info = _read(path, name)
    check_imports(tree, path, module.split(".")[0])
    digest = hashlib.sha256(info.source.encode()).hexdigest() if package is None else _digest_of_folder(package)
    return replace(info, digest=digest, module=module)


def _check_name(name: str, what: str) -> None:
    """Raise HeadError for a name that cannot stand in a folder's name and a table, or is that of a built-in head."""
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MOST_LETTERS - 1}}}", name):
        raise HeadError(
            f"{what} names the head, and must be of letters a to z, digits, and _ - . inside, {MOST_LETTERS} at most, "
            f"not {name!r}"
        )
    if (plain := name.casefold().replace("-", "_")) in built_in_names():
        raise HeadError(f"{what} is that of a head of the suite: for that one say {plain}; give your own another name")


def _digest_of_folder(package: Path) -> str:
    whole = hashlib.sha256()
    try:
        for path in sorted(path for path in package.rglob("*") if path.suffix in SUFFIXES and path.is_file()):
            whole.update(f"{path.relative_to(package).as_posix()}\0".encode(errors="surrogateescape"))
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as fault:
        raise _unreadable(package, fault) from fault
    return whole.hexdigest()


def _unreadable(path: Path, fault: OSError) -> HeadError:
    return HeadError(f"{path} cannot be read ({fault.strerror or fault})")


def _read(path: Path, name: str) -> tuple[ast.Module, HeadInfo]:
    source, module = _parse(path)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    if len(classes) != 1:
        found = ", ".join(node.name for node in classes) or "none"
        raise HeadError(f"{path} must define exactly one public class, the head; found: {found}")
    head = classes[0]
    first_line = (ast.get_docstring(head) or "").strip().split("\n", 1)[0]
    summary = "".join(letter for letter in first_line if letter.isprintable())
    inherited = _base_info(module, head)
    options = _options(head, path)
    if options is None:
        options = inherited.options if inherited else {}
    numerics = _numerics(head, path) or (inherited.numerics if inherited else 1)
    later = _later_options(head, path, options)
    if later is None:
        later = inherited.later if inherited else ()
    return module, HeadInfo(name, head.name, summary, options, numerics, path, source=source, later=later)


def _parse(path: Path) -> tuple[str, ast.Module]:
    try:
        source = importlib.util.decode_source(path.read_bytes())
        return source, ast.parse(source)
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    except UnicodeDecodeError as fault:
        raise HeadError(
            f"{path} is not Python text: byte {fault.start} is not {fault.encoding} (other encodings are named in "
            "the first line, as in `# -*- coding: latin-1 -*-`)"
        ) from fault
    except SyntaxError as fault:
        line = f", line {fault.lineno}" if fault.lineno else ""
        raise HeadError(f"{path}{line}: not valid Python ({fault.msg})") from fault
    except (ValueError, RecursionError, MemoryError) as fault:
        raise HeadError(f"{path}: not valid Python ({fault or 'nested too deeply'})") from fault


def _base_info(module: ast.Module, head: ast.ClassDef) -> HeadInfo | None:
    """The catalogue entry of a built-in head from which a head inherits, as in `vit.ViT` or `ViT`; else None."""
    for base in head.bases:
        word = base.value.id if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) else None
        if isinstance(base, ast.Name):
            imports = [node for node in module.body if isinstance(node, ast.ImportFrom) and node.module]
            word = next((n.module.split(".")[-1] for n in imports if base.id in {a.name for a in n.names}), None)
        if word and word in built_in_names():
            return read_built_in(word)
    return None


def _options(head: ast.ClassDef, path: Path) -> dict[str, Option] | None:
    """The keyword-only options of the head's own constructor; None if it has none of its own."""
    for node in head.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            try:
                options = {argument.arg: ast.literal_eval(default) for argument, default in pairs}
            except (ValueError, TypeError, RecursionError) as fault:
                raise HeadError(f"{path}: every keyword option of {head.name} needs a literal default") from fault
            for key, value in options.items():
                plain = value is None or type(value) in (bool, int, float, str)
                if not plain or (isinstance(value, float) and not math.isfinite(value)):
                    raise HeadError(
                        f"{path}: the default of {head.name}'s option {key!r} must be a finite number, a text, True, "
                        f"False or None, not {value!r}"
                    )
            return options
    return None


def _numerics(head: ast.ClassDef, path: Path) -> int | None:
    """The head's own `numerics`; None if it says nothing of it."""
    node = _declared(head, "numerics")
    if node is None:
        return None
    value = node.value if isinstance(node, ast.Constant) else None
    if type(value) is not int or value < 1:
        raise HeadError(f"{path}: `numerics` must be a whole number from 1, written out")
    return value


def _later_options(head: ast.ClassDef, path: Path, options: dict[str, Option]) -> tuple[str, ...] | None:
    """The head's own `later_options`; None if it says nothing of them."""
    node = _declared(head, "later_options")
    if node is None:
        return None
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    if not isinstance(value, tuple) or not set(value) <= options.keys():
        raise HeadError(f"{path}: `later_options` must be a tuple of names of {head.name}'s options, written out")
    return value


def _declared(head: ast.ClassDef, name: str) -> ast.expr | None:
    """What the body of a class assigns to a name."""
    for node in head.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == name:
            return node.value
    return None
