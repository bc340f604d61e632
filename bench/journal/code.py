"""Which code this is: its commit, or what a copy that was frozen for a submission says of itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

SNAPSHOT = "SNAPSHOT.json"
"""Beside the packages of a frozen copy: the commit it is of, and whether it had changes."""


def code_version(folder: Path) -> tuple[str, bool | None]:
    """The git commit of the code and whether it was changed since; ("unknown", None) outside a repository.

    A copy of the code that was frozen for a submission says so itself, in the file SNAPSHOT beside the package.
    """
    try:
        frozen = json.loads((folder.parent / SNAPSHOT).read_text(encoding="utf-8"))
        return frozen["commit"], frozen["dirty"]
    except FileNotFoundError:
        pass

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return "unknown", None
    changed = git("status", "--porcelain", "--untracked-files=no")
    return commit, bool(changed) if changed is not None else None
