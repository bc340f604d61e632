"""Names of rows: a label says how a head is called; where that is not enough, letters say what it is."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config import CellConfig
from bench.study.plan import request_key

LETTERS = 6
"""Hexadecimal digits behind a label: enough to tell some files apart, and to find them with sha256sum."""


def tell_apart(rows: Sequence[tuple[str, CellConfig]]) -> list[str]:
    """A name for each (label, configuration): the label, unless another configuration of the training set has it too.

    Then letters are added: of the SHA-256 of a head's file, or of the configuration where that does not tell. Seeds do
    not count. A head of the suite keeps its label where only heads from outside share it.
    """
    sharing: dict[tuple[str, str], dict[str, str]] = {}
    keys = [_key(config) for _, config in rows]
    for (label, config), key in zip(rows, keys, strict=True):
        sharing.setdefault((label, config.train), {})[key] = config.head_digest
    names = []
    for (label, config), key in zip(rows, keys, strict=True):
        digests = sharing[label, config.train]
        if len(digests) == 1:
            names.append(label)
        elif list(digests.values()).count(config.head_digest) > 1:
            names.append(f"{label} ({key[:LETTERS]})")
        else:
            names.append(f"{label} ({config.head_digest[:LETTERS]})" if config.head_digest else label)
    return names


def _key(config: CellConfig) -> str:
    return request_key(config.model_copy(update={"seed": 0}))
