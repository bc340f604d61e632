"""The small JSON files of a results folder: how they are read, where any may be damaged, and how they are written."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from bench.config import AnySettings, Settings
from bench.errors import UserError
from bench.progress import one_line


class Unreadable(UserError):
    """A file that does not hold what it should, or cannot be read. The message says what to do about it."""

    def __init__(self, path: Path, problem: str, advice: str) -> None:
        super().__init__(f"{path} {problem}; {advice}")
        self.path = path


def told(faults: Iterable[Unreadable]) -> list[str]:
    """Lines that name files that were passed over, and what to do about each; none for none."""
    lines = [f"  {one_line(str(fault))}" for fault in sorted(faults, key=lambda fault: fault.path)]
    count = "1 file was" if len(lines) == 1 else f"{len(lines)} files were"
    return [f"{count} passed over:", *lines] if lines else []


def read_json(path: Path, model: type[AnySettings], advice: str) -> AnySettings | None:
    """What a file holds, None if there is no such file.

    Raises Unreadable for anything else: the system's refusals, other things of that name, damage, other versions.
    `advice` says what to do about what lies there.
    """
    try:
        # A pipe of that name would be waited for without end.
        regular = stat.S_ISREG(path.stat().st_mode)
        content = path.read_bytes() if regular else b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as fault:
        denied = fault.errno in (errno.EACCES, errno.EPERM)
        what = "ask its owner for the right to read it" if denied else f"try again, or {advice}"
        raise Unreadable(path, f"cannot be read ({fault.strerror or fault})", what) from fault
    if not regular:
        raise Unreadable(path, "is not a file", advice)
    try:
        return model.model_validate_json(content)
    except ValidationError as fault:
        raise Unreadable(path, _problem(fault, model), advice) from fault


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing if there is no such folder. Raises Unreadable if it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as fault:
        advice = "ask its owner for the right to read it, or choose another with --results"
        raise Unreadable(folder, f"cannot be listed ({fault.strerror})", advice) from fault


def as_json(values: Settings, indent: int | None = None) -> bytes:
    """JSON in UTF-8. Bytes of a file's name that are no text are written as escapes, as in `\\udcff`."""
    try:
        return values.model_dump_json(indent=indent).encode()
    except PydanticSerializationError:
        return to_json(_escaped(values.model_dump()), indent=indent)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


def _problem(fault: ValidationError, model: type[Settings]) -> str:
    first = fault.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"is damaged ({first['ctx']['error']})"
    where = ".".join(map(str, first["loc"])) or "the whole"
    known = f"unknown: {where}" if first["type"] == "extra_forbidden" else f"{where}: {first['msg']}"
    return f"is not of this version of the suite ({known})"
