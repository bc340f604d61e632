"""A head whose training stands still until a signal comes, so that a run can be met in the middle at any load."""

from __future__ import annotations

from pathlib import Path

_SOURCE = '''
import signal
import time
from pathlib import Path

from variants import vit

FLAG = Path({flag!r})


class Standing(vit.ViT):
    """ViT that stands still in its second epoch while a file is there, which goes when a signal comes."""

    calls = 0

    def match(self, query, gallery):
        if self.training:
            self.calls += 1
            if self.calls > {calls} and FLAG.exists():
                self.stand_still()
        return super().match(query, gallery)

    def stand_still(self):
        before = {{number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)}}

        def go_on(number, frame):
            FLAG.unlink(missing_ok=True)
            before[number](number, frame)

        for number in before:
            signal.signal(number, go_on)
        while FLAG.exists():
            time.sleep(0.01)
        for number, handler in before.items():
            signal.signal(number, handler)
'''

STEPS_OF_AN_EPOCH = 6
"""Of the preset tiny on the stand-in msmt."""


def standing_head(folder: Path) -> Path:
    """The head's file; it stands still once."""
    flag, path = folder / "stand-still", folder / "standing.py"
    flag.touch()
    path.write_text(_SOURCE.format(flag=str(flag), calls=STEPS_OF_AN_EPOCH + 2))
    return path
