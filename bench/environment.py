"""What every process of a run needs of its surroundings: environment variables, and streams that take any text."""

import io
import sys

RUN_ENVIRONMENT = {
    # Threads that spin while they wait stand in one another's way as soon as anything else runs on the machine:
    # training then takes many times as long.
    "OMP_WAIT_POLICY": "passive",
    # Without it, matrix products on a GPU may differ from run to run.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""Environment variables, to be set before torch is imported."""


def write_any_text() -> None:
    """Let stdout and stderr write what their encoding lacks, and bytes of paths that are no text, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
