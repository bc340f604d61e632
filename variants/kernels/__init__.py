"""What makes matching fast and small: the operator of TransMatcher and QAConv, TransMatcher's MLP in blocks."""

from variants.kernels.maxima import maxima
from variants.kernels.mlp import exact_linear, normed_mlp

__all__ = ["exact_linear", "maxima", "normed_mlp"]
