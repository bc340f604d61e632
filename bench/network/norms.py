"""Batch norms that may be frozen, and layers that take convolutions and the norms behind them together."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from bench.network.folding import Folded, convolved, fold


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over images, rows and columns. A frozen one keeps its running statistics in training mode as well.

    Weight and bias learn all the same.
    """

    frozen = False

    def train(self, mode: bool = True) -> BatchNorm:
        """Training or evaluation mode; a frozen norm stays in evaluation mode."""
        return super().train(mode and not self.frozen)


class NormedLayer:
    """A layer that takes convolutions and the norms behind them together: forward(x, folded)."""

    def normed_convolutions(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        """Its own convolutions, none of which has a bias, each with the batch norm behind it or another norm."""
        return []


class NormedSequential(nn.Sequential, NormedLayer):
    """Layers one after the other, each convolution together with the norm behind it."""

    def normed_convolutions(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        layers = list(self)
        return [(layer, layers[n + 1]) for n, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]

    def forward(self, x: Tensor, folded: Folded | None = None) -> Tensor:
        """The outermost one, which is called without `folded`, folds the frozen norms of all layers within."""
        if folded is None:
            folded = _fold_within(self)
        layers: Iterable[nn.Module] = iter(self)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                x = normed(layer, next(layers), x, folded)
            else:
                x = layer(x, folded) if isinstance(layer, NormedLayer) else layer(x)
        return x


def normed(convolution: nn.Conv2d, norm: nn.Module, x: Tensor, folded: Folded) -> Tensor:
    """norm(convolution(x)), in one where the norm is folded into the convolution."""
    return convolved(convolution, x, folded) if convolution in folded else norm(convolution(x))


def _fold_within(module: nn.Module) -> Folded:
    layers = (layer for layer in module.modules() if isinstance(layer, NormedLayer))
    pairs = [pair for layer in layers for pair in layer.normed_convolutions()]
    return fold([(conv, norm) for conv, norm in pairs if isinstance(norm, BatchNorm) and norm.frozen])
