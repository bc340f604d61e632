"""`bench drill`: kill a run again and again, and see that it ends with the same bits."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.commands.common import at_least_one, example

# Blocks of few pairs, so that sampling and testing of tiny sets have moments enough to be killed in.
MEMORY_GIB = 12 / 2**20


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "drill",
        help="kill a tiny run again and again and see that its numbers stay the same",
        description="Run a tiny cell on stand-in data undisturbed, then again killed with SIGKILL, SIGTERM and SIGUSR2 "
        "at random moments of sampling, training, saving and testing, each after new progress; compare the hash of "
        "the weights and the ranks of every query.",
        epilog=example("bench drill --kills 20", "bench drill --kills 4 --variants ViT --seed 7"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=at_least_one, default=20, metavar="N", help="default: 20")
    parser.add_argument(
        "--variants", default="TransMatcher", metavar="ROW", help="a row of Table 2 (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 the same bits, 1 something differs or a run failed."""
    from bench.config import parse_overrides
    from bench.data.standin import write_standin
    from bench.running.drill import describe, epochs_for, run_drill
    from bench.running.preflight import RunOptions, preflight
    from bench.running.targets import local_target
    from bench.study.definition import load_preset, load_study
    from bench.study.plan import plan

    preset = load_preset("tiny")
    changes = [f"training.epochs={epochs_for(arguments.kills)}", f"evaluation.memory_gib={MEMORY_GIB}"]
    overrides = parse_overrides([*changes, "evaluation.batch=4"])
    cells = plan(load_study("table2"), preset, overrides, [arguments.variants], seeds=[0])[:1]
    with tempfile.TemporaryDirectory(prefix="bench-drill-") as folder:
        data, results = Path(folder) / "data", Path(folder) / "results"
        write_standin(data, size="tiny", workers=1)
        options = RunOptions(results, data, lambda _: local_target("cpu"), decode=False)
        [task] = preflight(cells, options)
        drill = run_drill(task, arguments.kills, arguments.seed, lambda line: print(line, flush=True))
    counts = ", ".join(f"{count} while {phase}" for phase, count in drill.counts().items())
    print(f"{len(drill.kills)} kills ({describe(drill.kills)}): {counts}")
    for difference in drill.differences:
        print(f"differs: {difference}")
    verdict = "something differs" if drill.differences else "weights and ranks of all queries are the same to the bit"
    print(f"{verdict}; {drill.seconds:.0f} s")
    return 1 if drill.differences else 0
