"""Seeds as people name them."""

from __future__ import annotations

from bench.config import MOST_SEED
from bench.errors import UserError
from bench.study.definition import MOST_SEEDS


def parse_seeds(text: str) -> list[int]:
    """ "4" is seeds 0 to 3; "0,3" is those two; "3," is seed 3 alone. Raises UserError for anything else."""
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or ("," not in text and numbers[0] < 1):
        raise UserError(f"--seeds takes a number of seeds (4) or a list of them (0,3), not {text!r}")
    if "," not in text and numbers[0] > MOST_SEEDS:
        raise UserError(
            f"--seeds {text} asks for that many seeds, {MOST_SEEDS} are the most; for the one seed say {text.strip()},"
        )
    if max(numbers) > MOST_SEED:
        raise UserError(f"--seeds takes seeds up to {MOST_SEED}, not {text[:40]}")
    return sorted(set(numbers)) if "," in text else list(range(numbers[0]))
