"""Runs as resources are chosen for them: by what they are called."""

from __future__ import annotations

from types import SimpleNamespace


def called(head: str = "vit", train: str = "msmt", row: str = "ViT") -> SimpleNamespace:
    """A run of a head, trained on a set, of a row."""
    return SimpleNamespace(label=row, config=SimpleNamespace(head=head, train=train))
