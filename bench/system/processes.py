"""Processes that this one starts: how they come to be, whatever the machine's temporary folder, and end with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext, ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.system.signals import STOP_SIGNALS, held_back
from bench.system.streams import tolerant_streams

MOST_FOLDER_BYTES = 70
"""Of a folder in which multiprocessing may bind its socket: the path of a socket has a hundred, its own part thirty."""


def forking(preload: str) -> ForkServerContext:
    """A context whose processes are forked from a server that has imported the module `preload`, so they start at once.

    The server takes no notice of stop signals, and ends when this process and all that it forked have ended. Its
    processes are born with stop signals held back: none is lost before they listen. Raises UserError where no folder
    will do for the server's socket.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    with _short_temporary_folder():
        with held_back():
            resource_tracker.ensure_running()  # lets the signals go again that it held back itself
        with held_back():
            forkserver.ensure_running()
    return context


@contextlib.contextmanager
def ended_with(process: BaseProcess) -> Iterator[BaseProcess]:
    """Start a process for the block and wait for it; if the block raises, it is asked to leave first."""
    try:
        with held_back():
            process.start()
        yield process
    except BaseException:
        if process.pid is not None:
            process.terminate()
        raise
    finally:
        if process.pid is not None:
            process.join()


class Died(Exception):
    """A process ended, with this exit code, before it had a result."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return how_it_ended(self.exit_code)


def call_apart(context: BaseContext, function: Callable[..., Any], *arguments: object) -> Any:
    """What a function returns in a process of its own, which is gone afterwards. Raises what it raises, or Died."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, function, arguments))
    answer = None
    try:
        with held_back():
            process.start()
        sender.close()
        with contextlib.suppress(EOFError):  # it ended before it could answer
            connection.wait([receiver, process.sentinel])
            answer = receiver.recv() if receiver.poll() else None
        if answer is None:
            process.join()
    finally:
        # Whatever it still does, it has nothing to save.
        if process.pid is not None:
            process.kill()
            process.join()
        receiver.close()
    if answer is None:
        raise Died(process.exitcode)
    returned, found = answer
    if returned:
        return found
    raise found


def how_it_ended(exit_code: int) -> str:
    """An exit code of multiprocessing in words: "ended with code 1", "was ended by SIGKILL (out of memory?)"."""
    if exit_code >= 0:
        return f"ended with code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # signals of real time have no names
        name = f"signal {-exit_code}"
    return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def follow_parent() -> None:
    """In a process that another one started: send this one SIGTERM as soon as the other has ended, however it did.

    Where nobody listens to Ctrl-C (before, and after), it ends the process without a traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def serve_parent() -> None:
    """In a process that only calculates for another: end with it at the latest, leave Ctrl-C to it, save nothing."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    follow_parent()


def _call(sender: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    serve_parent()
    with tolerant_streams():
        try:
            result = True, function(*arguments)
        except Exception as fault:
            result = False, fault
    sender.send(result)


def _follow(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _short_temporary_folder() -> Iterator[None]:
    before = tempfile.tempdir
    tempfile.tempdir = _short_folder()
    try:
        yield
    finally:
        tempfile.tempdir = before


def _short_folder() -> str:
    """The first folder, of the usual temporary ones, with a path short enough for a socket."""
    folders = [tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm", str(Path.cwd())]
    usable: Callable[[str], bool] = lambda folder: (  # noqa: E731
        len(os.fsencode(folder)) <= MOST_FOLDER_BYTES and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)
    )
    found = next(filter(usable, folders), None)
    if found is None:
        raise UserError(
            f"no temporary folder has a path of at most {MOST_FOLDER_BYTES} bytes (tried: {', '.join(folders)}); set "
            "TMPDIR to a shorter one"
        )
    return found
