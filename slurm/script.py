"""What a job's script does before and after the run. The shell takes any path, which SLURM's own options do not."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from bench.environment import RUN_ENVIRONMENT
from bench.running.jobs import NODE_LINE
from slurm.comeback import MOST_MEMORY
from slurm.memory import MIB, most_bytes
from slurm.resources import Resources
from slurm.worker import SIGNAL_SECONDS

LOG_NAME = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}_0_log"
"""Of a job's output, in the shell, as Submitit would call it."""


def before_run(resources: Resources, code: Path, folder: Path, given_in: Path) -> list[str]:
    """Lines of the shell before the run, which works in `folder` and imports what lies in `code`.

    The user's own commands work in `given_in`, where `bench run` was given.
    """
    variables = {
        "PYTHONPATH": str(code),
        "PYTHONSAFEPATH": "1",
        SIGNAL_SECONDS: str(resources.signal_seconds),
        MOST_MEMORY: str((most_bytes(resources) or 0) // MIB),
        **RUN_ENVIRONMENT,
    }
    enter = f"cd -- {shlex.quote(str(folder))} || exit 1"
    # The user's commands come last, so that they can say otherwise.
    own = [f"cd -- {shlex.quote(str(given_in))}", *resources.setup, enter] if resources.setup else []
    return [
        enter,
        f'exec >> "{LOG_NAME}.out" 2>> "{LOG_NAME}.err"',
        f'echo "{NODE_LINE}${{SLURMD_NODENAME:-$(hostname)}}"',
        *_at_the_end(resources.teardown, given_in),
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        *own,
    ]


def _at_the_end(commands: list[str], given_in: Path) -> list[str]:
    """Has the shell run the user's commands last, whatever ends it; its exit code stays the run's."""
    if not commands:
        return []
    return [
        "teardown() {",
        "local code=$?",
        "set +e",
        f"cd -- {shlex.quote(str(given_in))}",
        *commands,
        'exit "$code"',
        "}",
        "trap teardown EXIT",
        # A shell that is told to leave would end at once, and not wait until the run has saved.
        "trap : TERM",
    ]


def python_of(resources: Resources) -> str:
    """The Python that runs a job, in the shell's words."""
    python = resources.python or shlex.quote(sys.executable)
    # What srun is told, as to take a container, may have the run begin in another folder than that of the script.
    return f"""sh -c 'cd -- "$0" && exec "$@"' "$PWD" {python}""" if resources.srun else python
