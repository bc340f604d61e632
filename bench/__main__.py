"""`python -m bench` is the command `bench`."""

import signal
import sys


def main() -> int:
    """Run the command. Ctrl-C while it is still imported, or already over, ends it without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bench.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
