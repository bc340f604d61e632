"""What the readers share: find a set's folder, list its images, read the base names."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.filenames import NameForm, likely_set
from bench.data.reading import Entry
from bench.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})
BRIEFLY = 5
"""How many names a message gives at most."""

STANDIN_ADVICE = "`bench data standin --size demo`, then `bench run --preset demo`"


class SetAbsent(UserError):
    """The set is not below the data directory at all; a set that is there in part raises plain `UserError`."""


@dataclass(frozen=True)
class Place:
    """Where a set was found. `others` are further copies that were not taken."""

    root: Path
    release: str = ""
    others: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Listing:
    """One folder: `files` image -> size in bytes, `ignored` what is no image, folders not looked into included.

    `broken` are links to nothing and folders that are named like images.
    """

    files: dict[str, int]
    ignored: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def brief(names: Sequence[str]) -> str:
    """Join the first few names and say how many more there are."""
    more = f" and {len(names) - BRIEFLY:,} more" if len(names) > BRIEFLY else ""
    return ", ".join(names[:BRIEFLY]) + more


def is_image(name: str) -> bool:
    """Tell images from `Thumbs.db`, macOS's `._*` doubles and the like, by name."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - fast


def scan(folder: Path, depth: int = 0) -> Listing:
    """List the images of `folder`, and of the folders below it down to `depth`, with one `stat` each.

    Keys are paths relative to `folder` with forward slashes, in sorted order. Raises UserError where a folder
    cannot be read.
    """
    files: dict[str, int] = {}
    ignored: list[str] = []
    broken: list[str] = []
    waiting = [("", str(folder), depth)]
    while waiting:
        prefix, here, levels = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    relative = prefix + entry.name
                    if _leads_to_folder(entry):
                        if levels and not entry.name.startswith((".", "__MACOSX")):
                            waiting.append((relative + "/", entry.path, levels - 1))
                        elif is_image(entry.name):
                            broken.append(relative)
                        else:
                            ignored.append(relative + "/")
                    elif not is_image(entry.name):
                        ignored.append(relative)
                    else:
                        try:
                            files[relative] = entry.stat().st_size
                        except OSError:
                            broken.append(relative)
        except OSError as error:
            raise UserError(f"{here} cannot be read ({error.strerror}): mend its permissions.") from error
    return Listing(dict(sorted(files.items())), tuple(sorted(ignored)), tuple(sorted(broken)))


def folders_below(data_dir: Path, names: Iterable[str]) -> list[Path]:
    """Return the folders that exist under any of `names` ("a" or "a/b"), in that order, in any letter case.

    A folder reached twice (a link, a file system blind to case) is given once.
    """
    found: dict[tuple[int, int], Path] = {}
    for name in names:
        level = [data_dir]
        for part in name.split("/"):
            level = [child for folder in level for child in _children(folder) if child.name.lower() == part.lower()]
        for folder in level:
            status = folder.stat()
            found.setdefault((status.st_dev, status.st_ino), folder)
    return list(found.values())


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / name for name in sorted(entry.name for entry in entries if _leads_to_folder(entry))]
    except OSError:
        return []


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into somebody else's folder
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there, as far as this process can see."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Whether a file is there, as far as this process can see."""
    try:
        return path.is_file()
    except OSError:
        return False


def obstacles(data_dir: Path, names: Iterable[str] = ()) -> list[str]:
    """Say what below `data_dir` cannot be looked into, and why: links that lead nowhere, folders of others.

    That is `data_dir` itself, all that lies in it, and what lies deeper under one of `names` ("a/b").
    """
    found = dict.fromkeys(map(_obstacle, [data_dir, *_folders_and_links(data_dir)]))
    for name in names:
        level = [data_dir]
        for part in name.split("/"):
            level = [
                child for folder in level for child in _folders_and_links(folder) if child.name.lower() == part.lower()
            ]
            found |= dict.fromkeys(map(_obstacle, level))
    return [obstacle for obstacle in found if obstacle]


def _folders_and_links(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_symlink() or entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _obstacle(path: Path) -> str:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            os.scandir(path).close()
            os.stat(f"{path}/.")  # noqa: PTH116 - a Path would drop the dot, which asks for the right to enter
    except OSError as error:
        return f"{path} cannot be looked into ({error.strerror})"
    return ""


def choose(data_dir: Path, title: str, names: Sequence[str], parts: Sequence[str]) -> Place:
    """Return the first folder under one of `names` that holds all of the folders `parts`.

    Raises SetAbsent if no folder holds any of them, UserError if the best one holds some.
    """
    folders = folders_below(data_dir, names)
    missing = {folder: [part for part in parts if not is_folder(folder / part)] for folder in folders}
    some = [folder for folder in folders if len(missing[folder]) < len(parts)]
    whole = [folder for folder in some if not missing[folder]]
    if whole:
        return Place(whole[0], others=tuple(folder for folder in some if folder != whole[0]))
    if some:
        raise half_copied(title, some[0], missing[some[0]])
    raise absent(data_dir, title, names, f"the folders {', '.join(parts)}", folders, is_folder(data_dir / parts[0]))


def half_copied(title: str, root: Path, missing: Sequence[str]) -> UserError:
    """Say that parts of a set are there and others are not."""
    blocked = [obstacle for name in missing if (obstacle := _obstacle(root / name))]
    why = f" ({brief(blocked)})" if blocked else ""
    return UserError(f"{title} in {root} is incomplete: {brief(missing)} missing{why}. Copy the set again.")


def absent(
    data_dir: Path, title: str, names: Sequence[str], content: str, seen: Sequence[Path] = (), inside: bool = False
) -> SetAbsent:
    """Say where a set was looked for, how to make it found, and how to go on without it.

    `seen` are folders of the right name without `content`; `inside` says that `data_dir` itself looks like the set.
    """
    if inside:
        above = data_dir.absolute().parent
        return SetAbsent(
            f"{title} is absent below {data_dir}, but {data_dir} looks like the set itself: give the directory above it"
            f" (--data-dir {above} or BENCH_DATA={above}) and call the folder one of {', '.join(names)}."
        )
    blocked = obstacles(data_dir, names)
    if not os.path.lexists(data_dir):
        why, blocked = f"the data directory {data_dir} does not exist", []
    else:
        why = f"none of the folders {', '.join(dict.fromkeys(names))} below {data_dir} holds {content}"
    if blocked:
        why += f"; {brief(blocked)}"
    elif seen:
        why += f" ({brief([str(folder) for folder in seen])} exists without them)"
    standins = standin_folders(data_dir)
    size = standins[0].name.removeprefix("standin-") if standins else "demo"
    instead = f"`bench run --preset {size}`, whose data are there" if standins else STANDIN_ADVICE
    return SetAbsent(
        f"{title} is absent: {why}.\n"
        f"  To use it: place it in {data_dir / names[0]}, or give the directory that holds it"
        " as --data-dir or in the environment variable BENCH_DATA.\n"
        f"  To see the benchmark run without it, on stand-in data: {instead}."
    )


def standin_folders(data_dir: Path) -> list[Path]:
    """Return the folders `standin-*` below `data_dir`, where `bench data standin` writes."""
    return [folder for folder in _children(data_dir) if folder.name.startswith("standin-")]


def parse(form: NameForm, root: Path, names: Iterable[str]) -> list[Entry]:
    """Read person and camera of each image from its base name; `names` are relative to `root`.

    Raises UserError with the first name that is not of this form.
    """
    entries = []
    for name in names:
        parsed = form.parse(name.rpartition("/")[2])
        if parsed is None:
            raise foreign_name(form, root / name)
        entries.append(Entry(name, parsed.person, parsed.camera))
    return entries


def foreign_name(form: NameForm, path: Path) -> UserError:
    """Say that `path` is not named as `form` asks, and which set's name it is, if any."""
    other = likely_set(path.name)
    looks = f" but looks like {other}" if other and other != form.title else ""
    return UserError(
        f"{path} is not named like an image of {form.title} ({form.example}){looks}:"
        " are two sets mixed up? Move it away, or copy the set again."
    )


def read_folders(form: NameForm, place: Place, folders: Sequence[str]) -> tuple[dict[str, list[Entry]], Listing]:
    """List and parse the flat image folders of a set; keys are the folders, paths relative to the set's root.

    Raises UserError where a folder is empty or a name is of another form.
    """
    entries: dict[str, list[Entry]] = {}
    files: dict[str, int] = {}
    ignored: list[str] = []
    broken: list[str] = []
    for folder in folders:
        listing = scan(place.root / folder)
        if not listing.files and not listing.broken:
            raise UserError(f"{place.root / folder} holds no images: copy {form.title} again.")
        prefix = "" if folder == "." else f"{folder}/"
        entries[folder] = parse(form, place.root, [prefix + name for name in listing.files])
        files |= {prefix + name: size for name, size in listing.files.items()}
        ignored += [prefix + name for name in listing.ignored]
        broken += [prefix + name for name in listing.broken]
    return entries, Listing(files, tuple(ignored), tuple(broken))
