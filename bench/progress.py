"""Progress bars with time left, on a terminal only, each run on a line of its own; and lines that are always told."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

from tqdm import tqdm

# tqdm would make a lock between processes, which a killed process leaves behind; here each has a line of its own.
tqdm.set_lock(threading.RLock())


def one_line(text: str) -> str:
    """`text` with escapes for what would not stand in a line as itself: line breaks, controls, broken characters."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def sentence(text: str) -> str:
    """What somebody else worded, such as a failure's reason, in one line."""
    return one_line(" ".join(text.split()))


def amount(size: int) -> str:
    """Bytes, in the unit that suits them."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


@dataclass(frozen=True)
class Progress:
    """Whether bars are drawn, on which line of the terminal, whose name they bear, and whether to be silent."""

    shown: bool = False
    line: int = 0
    label: str = ""
    silent: bool = False

    def say(self, text: str) -> None:
        """A line on stderr, above the bars where bars are drawn."""
        if not self.silent:
            tqdm.write(f"{self.label} {text}".strip(), file=sys.stderr)
            sys.stderr.flush()

    def bar(self, total: int, what: str, unit: str, initial: int = 0) -> tqdm:
        """A bar for `total` units of some work, `initial` of them done before; it vanishes when closed."""
        return tqdm(
            total=total,
            initial=initial,
            desc=f"{self.label} {what}".strip(),
            unit=unit,
            unit_scale=total > 10_000,
            disable=not self.shown,
            leave=False,
            position=self.line,
        )


QUIET = Progress(silent=True)
