"""TransMatcher: decoders reduced to similarities, their maxima and an MLP (paper, Section 5 and B.1 to B.3)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from variants._base import Head, LocalMatches, Product, Repr, load_by_published_keys
from variants._layers import (
    check_layers,
    choose,
    draw_xavier,
    encoder_layers,
    encoder_products,
    matches_of_maxima,
    position_embedding,
    tokens_of,
)
from variants._unordered import UnorderedPairs
from variants.kernels import Mlp, dense_maxima, maxima, maxima_bytes, maxima_products, normed_linear, normed_mlps


class TransMatcher(Head):
    """TransMatcher: N simplified decoders score the best matches between N levels of both images.

    `first_level` "neck": the levels are the feature map and the outputs of N-1 encoder layers; "encoder": the
    outputs of N encoder layers (paper, B.3). `symmetric_prior` uses (R + R^T)/2, so that swapping the images
    cannot change a score (B.1). `pos_embed` is added to the first encoder's input. `fc1`, `bn1`, `mlp_head1` and
    `prior_embed` switch the parts of Table 3.
    """

    numerics = 5
    takes_16_bits = True
    offers_local_matches = True
    published_options = MappingProxyType({"symmetric_prior": False})

    def __init__(
        self,
        feature_shape: tuple[int, int, int],
        *,
        feedforward: int = 2048,
        layers: int = 3,
        heads: int = 1,
        fc1: bool = True,
        bn1: bool = True,
        mlp_head1: bool = True,
        prior_embed: bool = True,
        pos_embed: bool = False,
        symmetric_prior: bool = True,
        first_level: str = "neck",
        encoder_init: str = "torch",
    ) -> None:
        super().__init__(feature_shape)
        width = feature_shape[0]
        self.first_level = choose("first_level", first_level, ("neck", "encoder"))
        encoders = check_layers(layers) - (first_level == "neck")
        if pos_embed and encoders == 0:
            raise ValueError("pos_embed needs an encoder: use layers of at least 2, or first_level 'encoder'")
        self.feedforward, self.symmetric_prior = feedforward, symmetric_prior
        self.position = position_embedding(self.tokens, width) if pos_embed else None
        self.encoder = encoder_layers(encoders, width, feedforward, heads)
        self.decoder = nn.ModuleList(
            _SimplifiedDecoder(width, self.tokens, feedforward, fc1, bn1, mlp_head1, prior_embed) for _ in range(layers)
        )
        self.norm = nn.BatchNorm1d(1)
        self.symmetric = symmetric_prior or not prior_embed
        draw_xavier(self, encoder_init)

    def levels(self, feature_map: Tensor) -> list[Tensor]:
        """The N maps that feed the N decoders, each [B, T, d]."""
        # Every layer that reads a turned view makes a copy of its own.
        tokens = tokens_of(feature_map).contiguous()
        levels = [tokens] if self.first_level == "neck" else []
        if self.position is not None:
            tokens = tokens + self.position
        for layer in self.encoder:
            tokens = layer(tokens)
            levels.append(tokens)
        return levels

    def encode(self, feature_map: Tensor) -> Repr:
        """`levels` [B, N, T, d], behind each level's FC1."""
        levels = [decoder.fc1(level) for decoder, level in zip(self.decoder, self.levels(feature_map), strict=True)]
        return Repr(levels=torch.stack(levels, dim=1))

    def match(self, query: Repr, gallery: Repr) -> Tensor:
        half = gallery is query and self.symmetric and isinstance(self.decoder[0].fc2, nn.Linear)
        pairs = UnorderedPairs(len(query), query.levels.device) if half else None
        return self._fused(self._scores(_sides(query, gallery), pairs), query, gallery)

    def plain_match(self, query: Repr, gallery: Repr) -> Tensor:
        sides = zip(self.decoder, _sides(query, gallery), strict=True)
        scores = (decoder.plain(*both, self.symmetric_prior) for decoder, both in sides)
        return self._fused(scores, query, gallery)

    def _scores(self, sides: Iterable[tuple[Tensor, Tensor]], pairs: UnorderedPairs | None) -> Iterator[Tensor]:
        """Query [Q, T, d] and gallery [G, T, d] of each level, behind FC1 -> a score of all pairs by level, [Q*G, 1].

        `pairs` of a batch with itself, where turning a pair turns its maxima: the MLPs then see half of them for all.
        """

        def best(both: tuple[Tensor, Tensor], prior: Tensor | None) -> Tensor:
            return maxima(*both, prior, symmetric_prior=self.symmetric_prior)

        def rows(table: Tensor) -> Tensor:
            return (table if pairs is None else pairs.of(table)).view(-1, self.tokens)

        levels = zip(sides, self._priors(), strict=True)
        if isinstance(self.decoder[0].fc2, nn.Identity):
            for decoder, level in zip(self.decoder, levels, strict=True):
                yield normed_linear(best(*level), decoder.norm_of_maxima(), decoder.fc3).sum(dim=2).view(-1, 1)
            return
        counts = None if pairs is None else pairs.counts.repeat_interleave(2)
        mlps = [Mlp(decoder.norm_of_maxima(), decoder.fc2, decoder.bn2, decoder.fc3) for decoder in self.decoder]
        for scores in normed_mlps((rows(best(*level)) for level in levels), counts, mlps):
            summed = scores.view(-1, 2).sum(dim=1, keepdim=True)
            yield summed if pairs is None else pairs.to_all(summed)

    def _priors(self) -> Sequence[Tensor | None]:
        """Each decoder's, as `_SimplifiedDecoder.prior` gives it."""
        embeddings = [decoder.score_embed for decoder in self.decoder]
        if embeddings[0] is None:
            return embeddings
        return _weights(torch.cat(embeddings)[:, 0], self.symmetric_prior).unbind()

    def _fused(self, scores: Iterable[Tensor], query: Repr, gallery: Repr) -> Tensor:
        """Scores of each level, [Q*G, 1], behind its batch norm, summed and normed: [Q, G]."""
        normed = [decoder.bn3(part) for decoder, part in zip(self.decoder, scores, strict=True)]
        return self.norm(torch.stack(normed).sum(dim=0)).view(len(query), len(gallery))

    def local_matches(self, query: Repr, gallery: Repr) -> list[LocalMatches]:
        """The maxima of every decoder, in both directions, as its MLP sees them: weighted by its prior.

        The scores of a pair under all decoders, summed, are its logit in front of the last batch norm.
        """
        return [
            decoder.matches(f"decoder {n + 1}", query.levels[:, n], gallery.levels[:, n], self.symmetric_prior)
            for n, decoder in enumerate(self.decoder)
        ]

    def matcher(self) -> Head:
        twin = copy.copy(self)
        twin._modules = {**self._modules, "encoder": nn.ModuleList(nn.Identity() for _ in self.encoder)}
        return twin

    def encode_products(self, images: int) -> list[Product]:
        fc1 = sum(isinstance(decoder.fc1, nn.Linear) for decoder in self.decoder)
        width = self.feature_shape[0]
        products = encoder_products(self.encoder, images, self.tokens)
        return [*products, Product(images * self.tokens, width, width, fc1)] if fc1 else products

    def match_products(self, queries: int, gallery: int, same: bool = False) -> list[Product]:
        half = same and self.symmetric
        rows = queries * (queries + 1) if half else 2 * queries * gallery
        products = []
        for decoder in self.decoder:
            products += maxima_products(queries, gallery, self.tokens, self.feature_shape[0], same)
            if isinstance(decoder.fc2, nn.Linear):
                products.append(Product(rows, self.tokens, decoder.fc2.out_features))
            products.append(Product(rows, decoder.fc3.in_features, 1))
        return products

    def pair_bytes(self, training: bool = False) -> int:
        """Those of the maxima: hidden layers come in small blocks, too. In training, of each level, the positions of
        the maxima in 16 bits, four forms of half of the maxima, and half of the hidden layer, which a GPU keeps."""
        if not training:
            return maxima_bytes(self.tokens)
        hidden = sum(decoder.fc2.out_features for decoder in self.decoder if isinstance(decoder.fc2, nn.Linear))
        return len(self.decoder) * 20 * self.tokens + 4 * hidden

    def pair_parameters(self) -> set[str]:
        return self._names_under("decoder.", "norm.")

    def void_parameters(self) -> set[str]:
        """Batch norms cancel a common scale or shift in front of them (PROTOCOL, section 2)."""
        endings = ["bn1.weight", "bn1.bias", "fc2.bias", "fc3.bias", "bn3.bias"]
        if len(self.decoder) == 1:
            endings.append("bn3.weight")
        return {name for name, _ in self.named_parameters() if name.endswith(tuple(endings))}

    def load_published(self, matcher_state: dict[str, Tensor], encoder_state: dict[str, Tensor] | None = None) -> None:
        """Load a published matcher (keys `decoder.*`) and encoder state (keys `encoder.*`).

        The published prior is not symmetric, so `symmetric_prior` is switched off, with a warning. Raises
        ValueError naming surplus, missing or misshapen keys; only the unused template `decoder_layer.*` is dropped.
        """
        targets = self._published(self.state_dict())
        state = {**matcher_state, **(encoder_state or {})}
        load_by_published_keys(targets, state, ignored_prefixes=("decoder_layer.",))
        if self.symmetric_prior and self.decoder[0].score_embed is not None:
            warnings.warn("published priors are not symmetric: symmetric_prior is now off", stacklevel=2)
            self.symmetric_prior = self.symmetric = False

    def published_parameters(self) -> dict[str, nn.Parameter]:
        """{published key: parameter} of decoders, last norm and encoder layers."""
        return self._published(dict(self.named_parameters()))

    @staticmethod
    def _published(own: dict[str, Tensor]) -> dict[str, Tensor]:
        prefixes = {"decoder.": "decoder.layers.", "encoder.": "encoder.layers.", "norm.": "decoder.norm."}
        named = {}
        for name, tensor in own.items():
            part, rest = name.split(".", 1) if "." in name else (name, "")
            named[prefixes.get(part + ".", part) + rest] = tensor
        return named


class _SimplifiedDecoder(nn.Module):
    """Eq. 4 to 8 for one level; attribute names are those of published states."""

    def __init__(
        self, width: int, tokens: int, feedforward: int, fc1: bool, bn1: bool, mlp_head1: bool, prior_embed: bool
    ) -> None:
        super().__init__()
        self.tokens = tokens
        # Published states keep two leading axes of 1; the third axis is the gallery position.
        self.score_embed = nn.Parameter(torch.empty(1, 1, tokens, tokens)) if prior_embed else None
        self.fc1 = nn.Linear(width, width) if fc1 else nn.Identity()
        self.bn1 = nn.BatchNorm1d(1) if bn1 else nn.Identity()
        self.fc2 = nn.Linear(tokens, feedforward) if mlp_head1 else nn.Identity()
        self.bn2 = nn.BatchNorm1d(feedforward) if mlp_head1 else nn.Identity()
        self.fc3 = nn.Linear(feedforward if mlp_head1 else tokens, 1)
        self.bn3 = nn.BatchNorm1d(1)

    def prior(self, symmetric: bool) -> Tensor | None:
        """sigmoid(R) as weights of (query position, gallery position), [T, T]; None without a prior."""
        return None if self.score_embed is None else _weights(self.score_embed[0, 0], symmetric)

    def plain(self, query: Tensor, gallery: Tensor, symmetric: bool) -> Tensor:
        """query [Q, T, d], gallery [G, T, d], both behind FC1 -> one score a pair, [Q*G, 1], as the paper has it."""
        return self._plain_score(dense_maxima(query, gallery, self.prior(symmetric)))

    def matches(self, level: str, query: Tensor, gallery: Tensor, symmetric: bool) -> LocalMatches:
        """The maxima of n pairs, query and gallery [n, T, d] behind FC1. One at BN1's mean counts for nothing."""
        centre = 0.0 if isinstance(self.bn1, nn.Identity) else float(self.bn1.running_mean)
        prior = self.prior(symmetric)

        def score(best: Tensor) -> Tensor:
            return self.bn3(self._plain_score(best))[:, 0]

        return matches_of_maxima(level, query, gallery, prior, score, centre)

    def norm_of_maxima(self) -> nn.BatchNorm1d | None:
        """BN1, if there is one."""
        return self.bn1 if isinstance(self.bn1, nn.BatchNorm1d) else None

    def _plain_score(self, best: Tensor) -> Tensor:
        """Maxima [..., 2, T] -> one score a pair, [pairs, 1]."""
        best = self.bn1(best.view(-1, 1, self.tokens)).view(-1, self.tokens)
        if isinstance(self.fc2, nn.Linear):
            best = F.relu(self.bn2(self.fc2(best)))
        return self.fc3(best).view(-1, 2).sum(dim=1, keepdim=True)


def _sides(query: Repr, gallery: Repr) -> Iterator[tuple[Tensor, Tensor]]:
    """Both sides of each level, one tensor where the gallery is the query."""
    queries = query.levels.unbind(dim=1)
    return zip(queries, queries if gallery is query else gallery.levels.unbind(dim=1), strict=True)


def _weights(embedding: Tensor, symmetric: bool) -> Tensor:
    """Embeddings R [..., T, T], the last axis that of the query -> priors, the last axis that of the gallery."""
    embedding = embedding.mT
    if symmetric:
        embedding = (embedding + embedding.mT) / 2
    return embedding.sigmoid()
