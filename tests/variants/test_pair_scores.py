"""How Cat and Cross come from a pair's outputs to its score: pooling, linear layer, batch norm, in either order."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from variants._laws import make, maps


def outputs_of(head, query, gallery):
    """The last tokens of each pair of Transformer-Cat, [Q, G, 2T+1, d]."""
    rows = []
    for one in query.tokens:
        pairs = [torch.cat((head.class_token, one, other)) + head.position for other in gallery.tokens]
        tokens = torch.stack(pairs)
        for layer in head.encoder:
            tokens = layer(tokens)
        rows.append(tokens)
    return torch.stack(rows)


@pytest.mark.parametrize("pooling", ["class", "mean"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_cat_scores_its_class_token_or_the_mean_of_all_tokens(pooling, norm_first):
    head = make("transformer_cat", {"pooling": pooling, "norm_first": norm_first}).train()
    query, gallery = head.encode(maps(2, 1)), head.encode(maps(3, 2))
    tokens = outputs_of(head, query, gallery)
    feature = tokens[:, :, 0] if pooling == "class" else tokens.mean(dim=2)
    weight = head.score[0].weight[0]
    if norm_first:
        expected = F.batch_norm(feature.flatten(0, 1), None, None, training=True).view(feature.shape) @ weight
    else:
        expected = F.batch_norm((feature @ weight).view(-1, 1), None, None, training=True).view(2, 3)
    torch.testing.assert_close(head.match(query, gallery), expected, rtol=1e-4, atol=1e-4)


def test_cross_with_its_norm_first_has_one_for_each_channel_of_the_mean():
    head = make("transformer_cross", {"norm_first": True}).train()
    plain = make("transformer_cross", {}).train()
    plain.load_state_dict({**plain.state_dict(), **{k: v for k, v in head.state_dict().items() if "norm.0" not in k}})
    query, gallery = head.encode(maps(2, 1)), head.encode(maps(3, 2))
    features = head.score_pairs(query, gallery)
    assert features.shape == (6, head.feature_shape[0])
    torch.testing.assert_close(plain.score_pairs(query, gallery), head.score[0](features))
    normed = F.batch_norm(features, None, None, training=True)
    torch.testing.assert_close(head.match(query, gallery).view(-1), head.score[0](normed)[:, 0], rtol=1e-4, atol=1e-4)


def test_without_options_scores_keep_their_one_norm_behind_the_linear_layer():
    for name in ("transformer_cat", "transformer_cross", "transformer_cross_shared"):
        head = make(name, {})
        assert head.norm[0].norm.num_features == 1 and head.score[0].bias is None
    with pytest.raises(ValueError, match="pooling must be one of class, mean, not 'max'"):
        make("transformer_cat", {"pooling": "max"})
