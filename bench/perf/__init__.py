"""Speed and memory of matching, beside plain PyTorch and beside what the hardware's matrix products allow.

May import all rooms below: training, testing, study, network, data, journal.
"""

MATCHING, AROUND, PEERS, STREAMING, SERVING = "matching", "around", "peers", "streaming", "serving"
PARTS = (MATCHING, AROUND, PEERS, STREAMING, SERVING)
"""Parts of a measurement that can be asked for by name."""

DEFAULT_PARTS = (MATCHING, AROUND, PEERS)
"""Those that are measured unasked; the others take long."""
