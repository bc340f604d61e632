"""Standard output and error that never end the work they tell of.

A reader that went away, a full disk, a terminal that was closed, a letter that the encoding lacks: none of them is a
reason to throw results away. Letters are written as escapes; what cannot be written is noted, and told in the end.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

_TITLES = {"stdout": "standard output", "stderr": "standard error"}


class TolerantStream:
    """A text stream whose writing never fails. `fault` is why something could not be written, "" if all was."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.fault = stream, ""

    def write(self, text: str) -> int:
        """As the stream beneath; it is tried each time, since a full disk may have room again."""
        try:
            return self._stream.write(text)
        except OSError as fault:
            self._note(fault)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As the stream beneath."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """As the stream beneath."""
        try:
            self._stream.flush()
        except OSError as fault:
            self._note(fault)

    def _note(self, fault: OSError) -> None:
        self.fault = self.fault or fault.strerror or str(fault)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """In the block, sys.stdout and sys.stderr are tolerant; one that was closed when the process began leads nowhere.

    So does its descriptor: else the next file to be opened would become what libraries and other processes write to.
    """
    before = {name: getattr(sys, name) for name in _TITLES}
    for number in range(3):
        _lead_nowhere_if_closed(number)
    for name, stream in before.items():
        if not isinstance(stream, TolerantStream):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, TolerantStream(_nowhere() if stream is None else stream))
    try:
        yield
    finally:
        lost = lost_output()
        for name, stream in before.items():
            # Python complains once more, when it ends, of a stream that could not be written.
            if _TITLES[name] not in lost:
                setattr(sys, name, stream)


def lost_output() -> dict[str, str]:
    """Why something could not be written, by stream: "standard output", "standard error". Empty if all was written."""
    for name in _TITLES:
        getattr(sys, name).flush()
    faults = {title: getattr(getattr(sys, name), "fault", "") for name, title in _TITLES.items()}
    return {title: fault for title, fault in faults.items() if fault}


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _lead_nowhere_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != number:  # the system gives the lowest number that is free
            os.dup2(nothing, number)
            os.close(nothing)
        os.set_inheritable(number, True)
