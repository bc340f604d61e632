"""Transformer-Cross with one FC for queries and keys of every cross-attention (paper, C.4)."""

from __future__ import annotations

from variants import transformer_cross


class TransformerCrossShared(transformer_cross.TransformerCross):
    """Transformer-Cross whose cross-attentions use one FC for queries and keys; otherwise the same switches."""

    shared_fc = True
