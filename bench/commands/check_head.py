"""`bench check-head`: hold a head of your own against the laws that all heads obey."""

from __future__ import annotations

import argparse

from bench.commands.common import example
from bench.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "check-head",
        help="hold a head of your own against the laws that all heads obey",
        description="Run the laws of matching heads on a Python file (or on a head by name) and say which are broken.",
        epilog=example("bench check-head my_head.py", "bench check-head transmatcher"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("head", metavar="FILE", help="a file with one head class, or the name of a head")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 all laws hold, 1 some are broken."""
    from bench.journal.provenance import check_kernel
    from variants import HeadError
    from variants._laws import all_laws, make

    check_kernel(None)
    try:
        make(arguments.head, {})
    except HeadError as fault:
        raise UserError(str(fault)) from fault
    except Exception as fault:
        raise UserError(f"{arguments.head}: the head cannot be built: {type(fault).__name__}: {fault}") from fault
    broken = 0
    for name, law in all_laws().items():
        problem = _problem(law, arguments.head)
        broken += problem is not None
        print(f"{'broken' if problem else 'holds ':6}  {name.replace('_', ' ')}" + (f": {problem}" if problem else ""))
    print(f"{len(all_laws()) - broken} laws hold, {broken} broken")
    return 1 if broken else 0


def _problem(law, head: str) -> str | None:
    try:
        law(head, {})
    except AssertionError as fault:
        return str(fault)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    return None
