"""Calling SLURM's own commands, which now and then are too busy to answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from bench.errors import UserError

PATIENCE = 5.0
"""Seconds that a question may take."""
INSIST = 60.0
"""Seconds for which SLURM is asked again while it is too busy to answer."""
INSIST_VARIABLE = "PAIRBENCH_SLURM_SECONDS"
"""The environment variable that says another number of seconds."""
LONGEST_PAUSE = 10.0
"""Seconds between two questions; the first pause is one second, each further one twice as long."""

HICCUPS = (
    "socket timed out",
    "unable to contact slurm controller",
    "slurm temporarily unable",
    "slurm backup controller in standby mode",
    "communication connection failure",
    "communication shutdown failure",
    "zero bytes were transmitted or received",
    "unexpected message received",
    "transport endpoint is not connected",
    "connection timed out",
    "connection refused",
    "connection reset by peer",
    "insane message length",
    "resource temporarily unavailable",
    "rate limit",
)
"""What SLURM says where asking again may help. Refusals of what is asked for say other things."""


class Busy(UserError):
    """SLURM did not answer, or said that it is too busy."""


def ask(*command: str, patience: float = PATIENCE, insist: float | None = None) -> str:
    """The output of one of SLURM's commands, asked again with growing pauses while SLURM is too busy to answer.

    `patience` is how many seconds one answer may take; for `insist` seconds, by default those of
    PAIRBENCH_SLURM_SECONDS or 60, it is asked again. Raises UserError with SLURM's own words, Busy where it was too
    busy all the time.
    """
    end = time.monotonic() + (insist_seconds() if insist is None else insist)
    pause = 1.0
    while True:
        try:
            return _ask_once(command, patience)
        except Busy as fault:
            left = end - time.monotonic()
            if left <= 0:
                raise
            if pause == 1.0:
                tell(f"{fault}; asking again for up to {left:.0f} s")
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)


def insist_seconds() -> float:
    """For how long SLURM is asked again. Raises UserError where PAIRBENCH_SLURM_SECONDS is no number of seconds."""
    text = os.environ.get(INSIST_VARIABLE, "")
    if not text:
        return INSIST
    if not text.isdecimal():
        raise UserError(f"{INSIST_VARIABLE} takes a whole number of seconds, not {text!r}")
    return float(text)


def tell(sentence: str) -> None:
    """Say why it takes longer."""
    print(sentence, file=sys.stderr, flush=True)


def _ask_once(command: tuple[str, ...], patience: float) -> str:
    if shutil.which(command[0]) is None:
        raise UserError(
            f"there is no {command[0]} on this machine: run this where SLURM's commands are, "
            "or use --cluster local or no --cluster at all"
        )
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=patience, check=False
        )
    except subprocess.TimeoutExpired as fault:
        said = _words((fault.stderr or b"").decode(errors="replace")) if fault.stderr else "is SLURM's controller up?"
        raise Busy(f"{command[0]} has not answered for {patience:.0f} s: {said}") from fault
    except OSError as fault:
        raise UserError(f"cannot start {shutil.which(command[0])}: {fault.strerror}") from fault
    if done.returncode:
        said = done.stderr or done.stdout
        raise (Busy if is_hiccup(said) else UserError)(f"{command[0]}: {_words(said)}")
    return done.stdout


def is_hiccup(said: str) -> bool:
    """Whether these words of SLURM mean that asking again may help."""
    said = said.lower()
    return any(words in said for words in HICCUPS)


def _words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:3]) or "failed without a word"
