"""Speed and memory of matching, beside plain PyTorch and beside what the hardware's matrix products allow.

May import all rooms below: training, testing, study, network, data, journal.
"""

MATCHING, AROUND, PEERS, STREAMING = "matching", "around", "peers", "streaming"
STEP, TEST, SERVING = "step", "test", "serving"
PARTS = (MATCHING, AROUND, PEERS, STEP, TEST, STREAMING, SERVING)
"""Parts of a measurement that can be asked for by name."""

DEFAULT_PARTS = (MATCHING, AROUND, PEERS)
"""Those that are measured unasked; the others take long."""

OF_ROWS = (STEP, TEST, SERVING)
"""Those that measure rows of a study, at the row's own sizes."""
