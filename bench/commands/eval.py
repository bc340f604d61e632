"""`bench eval`: test weights that were trained elsewhere."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.commands.common import add_places, at_a_time, data_root, example, file_or_folder, head_word
from bench.config import CellConfig, merge, parse_overrides, split_words
from bench.environment import cpus
from bench.errors import CellFailed, UserError
from bench.system.signals import Interrupted, Interruption


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "eval",
        help="test weights that were trained elsewhere",
        description="Test weights that were trained elsewhere: a checkpoint.pt of this suite, or a checkpoint of the "
        "authors' public code (parts model and criterion). Backbone, width, feed-forward width and layers are read "
        "from the tensors; what these do not show, such as the number of attention heads, is said by --set. The report "
        "has a row for each file, under the training set `weights from outside`. No code in the file is run.",
        epilog=example(
            "bench eval --checkpoint checkpoint.pth.tar --head transmatcher --test market,cuhk03",
            "bench eval --checkpoint theirs.pth --head qaconv --test market --height 256 --width 128",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", required=True, type=file_or_folder, metavar="FILE", help="a file that torch.save wrote"
    )
    parser.add_argument("--head", required=True, help="the head whose weights they are, by name or file")
    parser.add_argument("--test", required=True, metavar="SETS", help="test sets or CSV files, separated by commas")
    add_places(parser)
    parser.add_argument("--height", type=int, metavar="PIXELS", help="of the pictures (default: 384, or the preset's)")
    parser.add_argument("--width", type=int, metavar="PIXELS", help="of the pictures (default: 128, or the preset's)")
    parser.add_argument("--preset", help="the preset with which they were trained: see `bench list`")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what else differs: evaluation.batch=16, options.heads=4, backbone.cut=layer2",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument(
        "--workers", type=at_a_time, default=cpus(), help="threads that decode images (default: %(default)s)"
    )
    parser.add_argument("--msmt-release", choices=("V1", "V2"), help="which MSMT17 to take where both are found")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. Raises UserError for weights that do not fit and sets that are not there, CellFailed for a test
    that failed.
    """
    tests = split_words(arguments.test)
    if tests is None:
        raise UserError("--test needs a test set, such as market")
    size = {name: value for name in ("height", "width") if (value := getattr(arguments, name)) is not None}
    overrides = merge(parse_overrides(arguments.set), {"input": size} if size else {})
    return _test(arguments, tests, overrides)


def _test(arguments: argparse.Namespace, tests: list[str], overrides: dict[str, object]) -> int:
    from bench.data.own_names import OwnSets
    from bench.progress import Progress, one_line
    from bench.running.cell import BUSY, INTERRUPTED, run_cell
    from bench.running.devices import resolve_device
    from bench.running.outside import OutsideRequest, outside_task, tested_record
    from bench.study.definition import load_preset

    own = OwnSets(arguments.data_dir)
    names = tuple(own.sources(tests))
    request = OutsideRequest(
        checkpoint=arguments.checkpoint,
        head=head_word(arguments.head),
        tests=names,
        results=arguments.results,
        data_dir=data_root(arguments.data_dir, load_preset(arguments.preset)),
        device=resolve_device(arguments.device),
        preset=arguments.preset,
        overrides=overrides,
        own=own.paths,
        msmt_release=arguments.msmt_release,
        workers=arguments.workers,
        progress=Progress(shown=sys.stderr.isatty()),
    )
    task = outside_task(request)
    before = _done_before(task.folder, names)
    interruption = Interruption()
    with interruption.watching():
        code = run_cell(task)
    if code == BUSY:
        raise CellFailed(f"{task.cell} is being tested by another process; ask again when that has finished")
    if code == INTERRUPTED:
        raise Interrupted(interruption.signal_name)
    record = tested_record(task.results, task.cell, names)
    print(one_line(f"{record.label}: {_sizes(task.config)}"))
    for name in names:
        result = record.result(name)
        there = "   tested before" if name in before else ""
        print(one_line(f"  {name}: Rank-1 {100 * result.rank1:.2f} %, mAP {100 * result.mAP:.2f} %{there}"))
    print(one_line(f"{task.folder}; `bench report` shows it among the weights from outside"))
    return 0


def _done_before(folder: Path, names: tuple[str, ...]) -> set[str]:
    from bench.journal.record import read_record

    record = read_record(folder)
    return {name for name in names if record is not None and record.result(name) is not None}


def _sizes(config: CellConfig) -> str:
    """What was read from the tensors, in words."""
    backbone = config.backbone
    options = ", ".join(f"{name} {value}" for name, value in config.options.items())
    parts = [f"{backbone.arch} (IBN {backbone.ibn}) up to {backbone.cut}", f"width {config.width}", options]
    return ", ".join(filter(None, parts))
