"""Generated persons seen by generated cameras, in the layouts of the real sets, for use where none is at hand.

May import the rest of data.
"""

from bench.data.standin.write import write_standin

__all__ = ["write_standin"]
