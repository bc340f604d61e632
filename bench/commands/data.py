"""`bench data`: check the data sets, or write stand-in ones."""

import argparse
import sys

from bench.commands.common import add_data_dir, at_a_time, example
from bench.environment import cpus

SIZES = ("tiny", "demo", "full")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `data` with its actions `check` and `standin`."""
    parser = subparsers.add_parser(
        "data",
        help="check the data sets, or write stand-in ones",
        description="Check the data sets, or write stand-in ones.",
        epilog=example("bench data check market msmt --data-dir /data/reid", "bench data standin --size demo"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_check(actions)
    _add_standin(actions)


def _add_check(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from bench.data import describe

    sets = "\n".join(f"  {name:<16}{description.text}" for name, description in describe().items())
    parser = actions.add_parser(
        "check",
        help="compare the data sets on disk with the published ones",
        description=(
            "Find the data sets, compare their counts with the published ones and print their fingerprints.\n"
            "Exits 0 if everything is complete, 1 if a set is there but not as published, 2 if a named one is absent."
        ),
        epilog=f"sets:\n{sets}\n\n" + example("bench data check market msmt --data-dir /data/reid --deep"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a set, see below (default: all that are there)")
    add_data_dir(parser)
    parser.add_argument("--deep", action="store_true", help="open every image, and hash its bytes too (minutes)")
    parser.add_argument(
        "--msmt-release",
        type=str.upper,
        choices=("V1", "V2"),
        help="which MSMT17 to take where both are there (default: the one that is there)",
    )
    _add_workers(parser, "threads that open images, with --deep")


def _add_standin(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "standin",
        help="write stand-in data sets of drawn persons",
        description=(
            "Write stand-in sets, in the layout of the real ones, into DIR/standin-SIZE.\n"
            "Numbers measured on them say nothing about real data."
        ),
        epilog=example("bench data standin --size demo", "bench data check --data-dir data/standin-demo"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=SIZES, required=True, help="how many persons and images")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other persons (default: 0)")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="which sets to write (default: all)")
    add_data_dir(parser)
    _add_workers(parser, "processes that draw")


def _add_workers(parser: argparse.ArgumentParser, help_text: str) -> None:
    parser.add_argument(
        "--workers",
        type=at_a_time,
        default=cpus(),
        metavar="N",
        help=f"{help_text} (default: one for each core)",
    )


def run(args: argparse.Namespace) -> int:
    """Do the action and return the exit status: 0, or 1 if a checked set has a fault. Raises UserError."""
    return _check(args) if args.action == "check" else _standin(args)


def _check(args: argparse.Namespace) -> int:
    from bench.data.check import check, render

    report = check(
        args.names,
        args.data_dir,
        deep=args.deep,
        workers=args.workers,
        msmt_release=args.msmt_release,
        progress=sys.stderr.isatty(),
    )
    print(render(report))
    return 0 if report.complete else 1


def _standin(args: argparse.Namespace) -> int:
    from bench.data.standin import write_standin

    root = args.data_dir / f"standin-{args.size}"
    chosen = {"sets": args.sets} if args.sets else {}
    write_standin(
        root=root, size=args.size, seed=args.seed, workers=args.workers, progress=sys.stderr.isatty(), **chosen
    )
    print(f"Stand-in data ({args.size}, seed {args.seed}) is in {root}; `bench run --preset NAME` looks there")
    return 0
