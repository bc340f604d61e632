"""Code run in an interpreter of its own: for what is read once at import, and for peak memory."""

from __future__ import annotations

import os
import subprocess
import sys

from places import ROOT


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
