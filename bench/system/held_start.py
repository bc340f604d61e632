"""`python -m bench.system.held_start MODULE ...`: runs a module, with stop signals held back until it listens.

Imports take seconds, and a process that is told to leave meanwhile would end at once, as one that failed. What is held
back arrives when somebody who listens lets it through.
"""

from __future__ import annotations

import runpy
import signal
import sys

from bench.system.signals import STOP_SIGNALS

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
