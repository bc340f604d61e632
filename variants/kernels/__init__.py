"""What makes matching fast and small: the operator of TransMatcher and QAConv, TransMatcher's MLP in blocks, and
freed memory kept or given back.

May import `variants._base`.
"""

from variants.kernels.choice import kernel_name
from variants.kernels.choice import usable as usable_kernel
from variants.kernels.freed import give_back_freed_memory, keep_freed_memory
from variants.kernels.linear import Mlp, exact_linear, normed_linear
from variants.kernels.maxima import float32_products, maxima, maxima_bytes, maxima_products
from variants.kernels.mlp import normed_mlps
from variants.kernels.native import forced as forced_kernel
from variants.kernels.plain import aligned as aligned_maxima
from variants.kernels.plain import dense as dense_maxima

__all__ = [
    "Mlp",
    "aligned_maxima",
    "dense_maxima",
    "exact_linear",
    "float32_products",
    "forced_kernel",
    "give_back_freed_memory",
    "keep_freed_memory",
    "kernel_name",
    "maxima",
    "maxima_bytes",
    "maxima_products",
    "normed_linear",
    "normed_mlps",
    "usable_kernel",
]
