"""`bench check-head`: hold a head of your own against the laws that all heads obey."""

from __future__ import annotations

import argparse
import sys

import variants
from bench.commands.common import example, head_word
from bench.errors import UserError
from bench.running import apart


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

    check_kernel(None)
    head = head_word(arguments.head)
    try:
        variants.describe(head)
    except variants.HeadError as fault:
        raise UserError(str(fault)) from fault
    print(f"trying {head}, for at most {apart.TRIAL_SECONDS} s a law", file=sys.stderr, flush=True)
    built = apart.apart(_build, head)
    if built.problem:
        raise UserError(f"{head}: the head cannot be built: {built.problem}")
    laws = built.value
    broken = held = 0
    for law in laws:
        tried = apart.apart(_try, law, head)
        broken += bool(tried.problem)
        held += not tried.problem
        problem = f": {tried.problem}" if tried.problem else ""
        print(f"{'broken' if problem else 'holds ':6}  {law.replace('_', ' ')}{problem}", flush=True)
        if tried.ended:
            break  # what loops for ever here would do so in every law
    left = len(laws) - held - broken
    print(f"{held} laws hold, {broken} broken" + (f", {left} not tried" if left else ""))
    return 1 if broken else 0


def _build(head: str) -> list[str]:
    """The laws, by name, once the head can be built."""
    from variants._laws import all_laws, make

    make(head, {})
    return list(all_laws())


def _try(law: str, head: str) -> None:
    from variants._laws import all_laws

    all_laws()[law](head, {})
