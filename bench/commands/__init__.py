"""The subcommands of `bench`, one module each: `add_parser(subparsers)` and `run(args) -> int`.

Parsing and printing only. May import every other room, when a command runs, so that help answers at once.
"""
