"""The command `bench`. Commands import what they need when they run, so that help answers at once."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from bench.commands import (
    cancel,
    check_head,
    clean,
    data,
    drill,
    eval,
    list,
    logs,
    match,
    matches,
    merge,
    perf,
    plan,
    report,
    run,
    search,
    shortlist,
    status,
    weights,
)
from bench.commands.common import example
from bench.config import nearest
from bench.environment import RUN_ENVIRONMENT
from bench.errors import CellFailed, UserError
from bench.system.signals import Interrupted, Interruption
from bench.system.streams import lost_output, tolerant_streams

COMMANDS = {
    "plan": plan,
    "run": run,
    "status": status,
    "cancel": cancel,
    "logs": logs,
    "report": report,
    "match": match,
    "search": search,
    "shortlist": shortlist,
    "eval": eval,
    "matches": matches,
    "data": data,
    "perf": perf,
    "list": list,
    "weights": weights,
    "check-head": check_head,
    "drill": drill,
    "merge": merge,
    "clean": clean,
}

UNUSABLE = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
)
"""What the system says of places that somebody named. Of all else, a full disk say, the machine is at fault."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Compare Transformer ways of matching two images, for generalizable person re-identification.",
        epilog=example(
            "bench data standin --size demo",
            "bench run --variants all --train msmt --preset demo",
            "bench report",
        )
        + "\n\nexit codes: 0 good; 1 failed runs, faulty data, or output that could not be written; 2 wrong use; "
        "128 + N ended by signal N",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 128 and the signal's number if a stop signal ended it.

    Whatever goes wrong that is no fault of the code is told in one sentence; a bug is raised.
    """
    for name, value in RUN_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with tolerant_streams():
        code = _interruptible(argv)
        lost = lost_output()
        for stream, reason in lost.items():
            place = sys.stdout if "standard error" in lost else sys.stderr
            print(f"bench: {stream} could not be written: {reason}", file=place)
    return code or int(bool(lost))


def _interruptible(argv: Sequence[str] | None) -> int:
    interruption = Interruption()
    try:
        with interruption.watching():
            try:
                try:
                    return _run(argv)
                finally:
                    interruption.leave()
            except Interrupted as stop:
                return _ended_by(stop)
    except Interrupted as stop:  # one that had been held back until somebody listened
        return _ended_by(stop)


def _ended_by(stop: Interrupted) -> int:
    print(f"ended by {stop.signal_name}; the same command goes on where it was", file=sys.stderr)
    return 128 + signal.Signals[stop.signal_name]


def _run(argv: Sequence[str] | None) -> int:
    name = "bench"
    try:
        try:
            parser = make_parser()
            arguments, unknown = parser.parse_known_args(argv)
            if unknown:
                _refuse(parser, arguments.command, unknown[0])
        except SystemExit as stop:  # argparse has said why, or printed its help
            return int(stop.code or 0)
        name = f"bench {arguments.command}"
        return COMMANDS[arguments.command].run(arguments)
    except (UserError, CellFailed, OSError, OverflowError, UnicodeError) as fault:
        code, sentence = _told(fault)
        print(f"{name}: {sentence}", file=sys.stderr)
        return code


def _told(fault: Exception) -> tuple[int, str]:
    """Exit code and sentence for what is no bug."""
    if isinstance(fault, OSError):
        where = f"{os.fsdecode(fault.filename)}: " if isinstance(fault.filename, str | bytes) else ""
        return 2 if fault.errno in UNUSABLE else 1, where + (fault.strerror or str(fault) or type(fault).__name__)
    if isinstance(fault, OverflowError):
        return 2, f"a number is too large ({fault})"
    if isinstance(fault, UnicodeError):
        return 2, f"text cannot be read or written in its encoding ({fault})"
    return 1 if isinstance(fault, CellFailed) else 2, str(fault)


def _refuse(parser: argparse.ArgumentParser, command: str, word: str) -> None:
    """End as argparse does, with the command's own options and the one that is nearest."""
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    own = subparsers.choices[command]
    options = [option for option in own._option_string_actions if option.startswith("--")]
    own.error(f"unknown argument {word!r}{nearest(word.split('=')[0], options)}; options: {', '.join(options)}")
