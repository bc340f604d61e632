"""`bench data`: check the data sets, write stand-in ones, draw splits of a small one, or write one as a CSV file."""

import argparse
import sys

from bench.commands.common import add_data_dir, at_a_time, at_least_one, example, file_or_folder
from bench.config import SMALL_TEST_SETS
from bench.environment import cpus
from bench.errors import UserError

SIZES = ("tiny", "demo", "full")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `data` with its actions."""
    parser = subparsers.add_parser(
        "data",
        help="check the data sets, write stand-in ones, or draw splits",
        description="Check the data sets, write stand-in ones, or draw splits of a small test set.",
        epilog=example("bench data check market msmt --data-dir /data/reid", "bench data standin --size demo"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_check(actions)
    _add_standin(actions)
    _add_splits(actions)
    _add_export(actions)
    actions.add_parser(
        "template",
        help="print an example of a set of your own",
        description="Print a commented example of a set of your own, as a CSV file.",
        epilog=example("bench data template > my.csv"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_export(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "export",
        help="write a known set as a CSV file",
        description="Write a known set in the form of a set of your own: a CSV file with a line for each image.",
        epilog=example("bench data export market market.csv"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="a set, see `bench list data`")
    parser.add_argument("out", type=file_or_folder, metavar="FILE", help="the CSV file to write; none is overwritten")
    add_data_dir(parser)
    parser.add_argument("--msmt-release", choices=("V1", "V2"), help="which MSMT17 to take where both are there")


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
    parser.add_argument("names", nargs="*", metavar="NAME", help="a set, see below, or a CSV file (default: all there)")
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


def _add_splits(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "splits",
        help="draw random splits of a small test set",
        description=(
            "Draw splits of a small test set as it lies on disk, and print them as JSON, for `bench run --splits`.\n"
            "Without them runs take the ten that ship with the suite, or come with the set."
        ),
        epilog=(
            'form: {"set": NAME, "splits": [{"train": [persons], "test": [persons]}, ...]}; for i-LIDS "test" lists,\n'
            "for each person, names of images: the first that exists is the query, the second the gallery's image\n\n"
        )
        + example("bench data splits viper --seed 7 > viper-7.json"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=SMALL_TEST_SETS, metavar="NAME", help=", ".join(SMALL_TEST_SETS))
    parser.add_argument("--seed", type=at_least_one, default=1, metavar="N", help="of the draw (default: %(default)s)")
    parser.add_argument("--count", type=at_least_one, default=10, metavar="N", help="of splits (default: %(default)s)")
    add_data_dir(parser)


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
    actions = {"check": _check, "standin": _standin, "splits": _splits, "export": _export, "template": _template}
    return actions[args.action](args)


def _check(args: argparse.Namespace) -> int:
    from bench.data.check import CheckReport, check, render
    from bench.data.own_names import OwnSets

    own, shown = OwnSets(args.data_dir), sys.stderr.isatty()
    mine = [word for word in args.names if own.knows(word)] if args.names else own.listed
    others = [word for word in args.names if word not in mine]
    report = CheckReport(())
    try:
        if others or not args.names:
            report = check(others, args.data_dir, args.deep, args.workers, args.msmt_release, shown)
    except UserError:
        if others or not mine:
            raise  # else nothing is there but sets of one's own
    if mine:
        from bench.data.own_check import check_own

        workers = args.workers if args.deep else 0
        names = {own.name(word): None for word in mine}
        found = [check_own(name, own.paths[name], workers, shown) for name in names]
        report = CheckReport((*report.sets, *found), report.obstacles)
    print(render(report))
    return 0 if report.complete else 1


def _export(args: argparse.Namespace) -> int:
    from bench.data import load_dataset
    from bench.data.export import exported
    from bench.journal.record import write_atomically

    if args.out.suffix != ".csv":
        raise UserError(f"{args.out} must end in .csv, by which a set of one's own is known")
    if args.out.exists():
        raise UserError(f"{args.out} is there already; give another name, or move it away")
    dataset = load_dataset(args.name, args.data_dir, args.msmt_release)
    write_atomically(args.out, exported(dataset, args.out.parent).encode("utf-8"))
    print(f"{args.out}: {len(dataset.train):,} training and {len(dataset.test_images):,} test images of {args.name}")
    if dataset.splits:
        print(
            f"All its test images are one test there; {args.name} itself is tested on splits ({dataset.split_source})"
        )
    return 0


def _template(_: argparse.Namespace) -> int:
    from bench.data.export import TEMPLATE

    print(TEMPLATE, end="")
    return 0


def _standin(args: argparse.Namespace) -> int:
    from bench.data.standin import write_standin

    root = args.data_dir / f"standin-{args.size}"
    chosen = {"sets": args.sets} if args.sets else {}
    write_standin(
        root=root, size=args.size, seed=args.seed, workers=args.workers, progress=sys.stderr.isatty(), **chosen
    )
    print(f"Stand-in data ({args.size}, seed {args.seed}) is in {root}; `bench run --preset NAME` looks there")
    return 0


def _splits(args: argparse.Namespace) -> int:
    from bench.data.draw import draw_for
    from bench.data.registry import read_set
    from bench.data.splits import written

    print(written(draw_for(args.name, read_set(args.name, args.data_dir), args.seed, args.count)), end="")
    return 0
