"""What makes matching fast and small: the operator of TransMatcher and QAConv, TransMatcher's MLP in blocks, and
freed memory given back between blocks.

May import `variants._base`.
"""

from variants.kernels.freed import give_back_freed_memory
from variants.kernels.maxima import kernel_name, maxima, maxima_bytes, maxima_products
from variants.kernels.mlp import exact_linear, normed_linear, normed_mlp
from variants.kernels.native import forced as forced_kernel
from variants.kernels.plain import aligned as aligned_maxima
from variants.kernels.plain import dense as dense_maxima

__all__ = [
    "aligned_maxima",
    "dense_maxima",
    "exact_linear",
    "forced_kernel",
    "give_back_freed_memory",
    "kernel_name",
    "maxima",
    "maxima_bytes",
    "maxima_products",
    "normed_linear",
    "normed_mlp",
]
