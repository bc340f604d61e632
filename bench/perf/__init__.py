"""Speed and memory of matching, beside plain PyTorch and beside what the hardware's matrix products allow.

May import all rooms below: training, testing, network, data, journal.
"""

MATCHING, AROUND, PEERS, STREAMING = "matching", "around", "peers", "streaming"
PARTS = (MATCHING, AROUND, PEERS, STREAMING)
"""Parts of a measurement that can be asked for by name."""

DEFAULT_PARTS = (MATCHING, AROUND, PEERS)
"""Those that are measured unasked; streaming takes long."""
