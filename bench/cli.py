"""The command `bench`. Commands import what they need when they run, so that help answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from bench.commands import cancel, check_head, data, drill, list, logs, perf, report, run, status, weights
from bench.commands.common import example
from bench.config import nearest
from bench.environment import RUN_ENVIRONMENT, write_any_text
from bench.errors import CellFailed, UserError

COMMANDS = {
    "run": run,
    "status": status,
    "cancel": cancel,
    "logs": logs,
    "report": report,
    "data": data,
    "perf": perf,
    "list": list,
    "weights": weights,
    "check-head": check_head,
    "drill": drill,
}


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
        + "\n\nexit codes: 0 good, 1 failed runs or faulty data, 2 wrong use",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    for name, value in RUN_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    write_any_text()
    parser = make_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(parser, arguments.command, unknown[0])
    try:
        return COMMANDS[arguments.command].run(arguments)
    except UserError as fault:
        print(f"bench {arguments.command}: {fault}", file=sys.stderr)
        return 2
    except CellFailed as fault:
        print(f"bench {arguments.command}: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (for example `| head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _refuse(parser: argparse.ArgumentParser, command: str, word: str) -> None:
    """End as argparse does, with the command's own options and the one that is nearest."""
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    own = subparsers.choices[command]
    options = [option for option in own._option_string_actions if option.startswith("--")]
    own.error(f"unknown argument {word!r}{nearest(word.split('=')[0], options)}; options: {', '.join(options)}")


if __name__ == "__main__":
    sys.exit(main())
