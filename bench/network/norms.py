"""Batch norms that may be frozen, and convolutions into which frozen ones are folded."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over images, rows and columns. A frozen one keeps its running statistics in training mode as well.

    Weight and bias learn all the same.
    """

    frozen = False

    def train(self, mode: bool = True) -> BatchNorm:
        """Training or evaluation mode; a frozen norm stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """(a, b), each [C], such that a x + b is x [B, C, H, W] normed by the running statistics."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale


def normed(convolution: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """norm(convolution(x)), the convolution having no bias of its own.

    A frozen batch norm is a scale and a shift of each channel. They go into the convolution's weights, which takes a
    product with the weights instead of a pass over the map, and in training none over its gradient. Autograd gives
    weights, scale and shift the gradients that they have apart.
    """
    if not (isinstance(norm, BatchNorm) and norm.frozen):
        return norm(convolution(x))
    return convolved(convolution, *norm.scale_and_shift(), x)


def convolved(convolution: nn.Conv2d, scale: Tensor, shift: Tensor, x: Tensor) -> Tensor:
    """scale * convolution(x) + shift, scale and shift [C] being those of the channels that come out."""
    weight = convolution.weight * scale[:, None, None, None]
    options = convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    return F.conv2d(x, weight, shift, *options)


class NormedSequential(nn.Sequential):
    """Layers one after the other, each convolution together with the norm behind it."""

    def forward(self, x: Tensor) -> Tensor:
        layers: Iterable[nn.Module] = iter(self)
        for layer in layers:
            x = normed(layer, next(layers), x) if isinstance(layer, nn.Conv2d) else layer(x)
        return x
