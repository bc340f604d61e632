"""`bench weights`: fetch published ImageNet weights, rename those of others, make the start of small presets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.architectures import ARCHITECTURES
from bench.commands.common import example, file_or_folder
from bench.config import one_of
from bench.environment import cpus
from bench.errors import UserError
from bench.progress import Progress
from bench.starts import STARTS


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "weights",
        help="fetch published ImageNet weights into the cache, convert others, make those of presets without any",
        epilog=example("bench weights fetch", "bench weights standin"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser(
        "fetch",
        help="download a published weight file",
        description="Download published ImageNet weights into torch's hub cache, where runs look for them. "
        "A file that is there is checked: its SHA-256 must be the published one.",
        epilog=example("bench weights fetch", "bench weights fetch --arch mobilenet_v2"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert = actions.add_parser(
        "convert",
        help="put weights of other names under the published ones",
        description="Write a file of weights under the published names, where its tensors match them in order and "
        "shape. Layers behind the network, such as a classifier, are left out.",
        epilog=example("bench weights convert theirs.pth --arch mobilenet_v2 --out ours.pth"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.add_argument("file", metavar="FILE", type=file_or_folder, help="a file that torch.save wrote")
    convert.add_argument("--out", metavar="PATH", type=file_or_folder, required=True, help="the new file")
    standin = actions.add_parser(
        "standin",
        help="make the weights that presets without ImageNet weights start from",
        description="Teach the backbone of the small presets to tell drawn things apart, none of them a person, and "
        "keep its weights in torch's hub cache. The same version gives the same weights on the same kind of CPU. Runs "
        "that need them make them too.",
        epilog=example("bench weights standin", "bench weights standin --start standin_tiny"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    standin.add_argument("--start", default="standin", choices=STARTS, help="which (default: %(default)s)")
    for action, arch in ((fetch, "resnet50"), (convert, "resnet50"), (standin, "resnet18")):
        action.add_argument("--arch", default=arch, choices=ARCHITECTURES, help="(default: %(default)s)")
        action.add_argument(
            "--ibn", choices=("none", "a", "b"), help="instance normalisation (default: b for a ResNet, else none)"
        )


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. Raises UserError for weights that cannot be had, read, matched or written."""
    own = ARCHITECTURES[arguments.arch]
    ibn = one_of(f"kind of IBN of {arguments.arch}", arguments.ibn or own.ibn[0], own.ibn)
    if arguments.action == "standin":
        return _make(arguments.start, arguments.arch, ibn)
    if arguments.action == "fetch":
        return _fetch(arguments.arch, ibn)
    return _convert(arguments.file, arguments.arch, ibn, arguments.out)


def _fetch(arch: str, ibn: str) -> int:
    from bench.network.published_weights import PUBLISHED, fetch_weights, noted_sha256

    file = fetch_weights(arch, ibn, progress=sys.stderr.isatty())
    print(file.path)
    if PUBLISHED[arch, ibn].sha256:
        known = "as published"
    else:
        known = f"of which the first 8 digits are published; noted in {noted_sha256(file.path).name}"
    print(f"SHA-256 {file.sha256}, {known}", file=sys.stderr)
    return 0


def _make(start: str, arch: str, ibn: str) -> int:
    from bench.network.common_start import start_file

    file = start_file(start, arch, ibn, Progress(shown=sys.stderr.isatty()), workers=min(cpus() - 1, 1))
    print(file.path)
    print(f"SHA-256 {file.sha256}; runs use it with --set backbone.weights={start}", file=sys.stderr)
    return 0


def _convert(path: Path, arch: str, ibn: str, out: Path) -> int:
    import io

    import torch

    from bench.journal.record import write_atomically
    from bench.network.weight_file import read_file, read_state
    from bench.network.weight_keys import convert

    if out.exists():
        raise UserError(f"{out} exists; give another --out")
    state = read_state(read_file(path))
    try:
        converted = convert(state, arch, ibn)
    except ValueError as fault:
        raise UserError(f"cannot convert {path}: {fault}") from fault
    content = io.BytesIO()
    # Copies, since torch.save writes all of the memory that a tensor is a part of.
    torch.save({key: tensor.clone() for key, tensor in converted.items()}, content)
    try:
        write_atomically(out, content.getvalue())
    except OSError as fault:
        raise UserError(f"cannot write {out}: {fault.strerror}") from fault
    print(f"{out}: {len(converted)} tensors of {arch} (IBN {ibn}); use it with --set backbone.weights={out}")
    return 0
