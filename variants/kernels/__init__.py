"""What makes matching fast and small: the operator of TransMatcher and QAConv, TransMatcher's MLP in blocks."""

from variants.kernels.maxima import kernel_name, maxima, maxima_products
from variants.kernels.mlp import exact_linear, normed_mlp
from variants.kernels.plain import dense as dense_maxima

__all__ = ["dense_maxima", "exact_linear", "kernel_name", "maxima", "maxima_products", "normed_mlp"]
