"""Backbone and head as one network, and what trainer and evaluator ask of it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import variants
from bench.computing import out_of_memory
from bench.config import HALVES, CellConfig, Scoring
from bench.data.ahead import picked
from bench.data.tensors import Images, as_float
from bench.errors import CellFailed, UserError
from bench.network.backbone import build_backbone
from bench.randomness import Stream, torch_seeded
from variants._base import Repr

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Matcher(nn.Module):
    """A backbone with its neck, and a matching head."""

    def __init__(self, config: CellConfig, head: str, weights: Path | str | None) -> None:
        """`head` is what `variants.build` takes; `weights` what `build_backbone` takes. Weights are the seed's.

        Raises UserError, beside what those two raise, if a file of weights or a head from outside is not the one that
        the configuration names.
        """
        super().__init__()
        if config.head_digest and variants.describe(head).digest != config.head_digest:
            raise UserError(f"{head} has changed since the run was planned; start the run anew")
        options = config.backbone
        with torch_seeded(config.seed, Stream.BACKBONE):
            self.backbone = build_backbone(options.arch, options.ibn, options.cut, config.width, weights)
        prefix, _, planned = (options.weights or "").partition(":")
        if weights is not None and prefix == "sha256" and planned != self.backbone.weights_sha256:
            raise UserError(f"{weights} has changed since the run was planned; start the run anew")
        self.backbone.freeze_batchnorm = options.batchnorm == "frozen"
        feature_shape = self.backbone.feature_shape(config.input.height, config.input.width)
        with torch_seeded(config.seed, Stream.HEAD):
            self.head = variants.build(head, feature_shape, **config.options)
        self.precision = config.training.precision

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def autocast(self) -> contextlib.AbstractContextManager:
        """Mixed precision as the configuration asks for it."""
        kind = _AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, kind) if kind else contextlib.nullcontext()

    def encode(self, images: Tensor, backbone: Callable[[Tensor], Tensor] | None = None) -> Repr:
        """[B, 3, H, W] in [0, 1] -> what the head keeps of each image. `backbone`: the own one in another form."""
        return self.head.encode((backbone or self.backbone)(images))

    @torch.inference_mode()
    def encode_all(
        self,
        images: Images,
        positions: NDArray[np.int64],
        batch: int,
        scoring: Scoring = "float32",
        known: Repr | None = None,
        after: Callable[[Repr, int], None] | None = None,
    ) -> Repr:
        """The images at `positions` of [n, 3, H, W] uint8, as `encode_batches` gives them, together.

        `known` holds the first of them where they are encoded already. `after` is told the result and how many of its
        images are done, after each batch. Takes no more memory than its result and one batch.
        """
        whole: dict[str, Tensor] = {}

        def put(part: Repr, start: int) -> None:
            for name, tensor in part.items():
                if name not in whole:
                    whole[name] = tensor.new_empty((len(positions), *tensor.shape[1:]))
                whole[name][start : start + len(tensor)] = tensor

        done = 0
        if known is not None:
            put(known, 0)
            done = len(known)
        with contextlib.closing(self.encode_batches(images, positions[done:], batch, scoring)) as parts:
            for part in parts:
                put(part, done)
                done += len(part)
                if after is not None:
                    after(Repr(**whole), done)
        return Repr(**whole)

    def encode_batches(
        self, images: Images, positions: NDArray[np.int64], batch: int, scoring: Scoring = "float32"
    ) -> Iterator[Repr]:
        """The images at `positions` of [n, 3, H, W] uint8, in evaluation mode, `batch` at a time, kept for `scoring`.

        For float32 they are encoded in float32, whatever precision the network was trained in, as the authors test [I];
        for 16 bits as it was trained. Where memory runs out, fewer images go at a time from then on. A GPU is never
        waited for. Close the iterator where it may not be gone through.
        """
        self.eval()
        most = batch
        places = [positions[start : start + batch] for start in range(0, len(positions), batch)]
        with contextlib.closing(picked(images, places, self.device)) as ready:
            for pixels in ready:
                parts: list[Repr] = []
                done = 0
                while done < len(pixels):
                    part = self._encoded(pixels[done : done + most], scoring)
                    if part is not None:
                        parts.append(part)
                        done += len(part)
                        continue
                    if most == 1:
                        raise CellFailed(
                            "memory does not suffice to encode a single image beside what is kept there: lower "
                            "evaluation.gpu_memory_gib on a GPU, --memory elsewhere, or end what else fills the memory"
                        )
                    most = -(-min(most, len(pixels)) // 2)
                    if self.device.type == "cuda":
                        torch.cuda.empty_cache()
                yield Repr.join(parts)

    @torch.inference_mode()
    def _encoded(self, pixels: Tensor, scoring: Scoring) -> Repr | None:
        """uint8 [b, 3, H, W] -> what is kept of them for `scoring`; None if memory ran out."""
        half = scoring in HALVES
        dtype = getattr(torch, scoring) if half and not self.head.exact_representations else torch.float32
        try:
            with self.autocast() if half else contextlib.nullcontext():
                found = self.encode(as_float(pixels))
            return Repr(**{name: tensor.to(dtype) for name, tensor in found.items()})
        except Exception as fault:
            if not out_of_memory(fault):
                raise
            return None

    def clip_groups(self) -> list[list[nn.Parameter]]:
        """Trainable parameters in the two groups whose gradients are clipped: per image, and seeing pairs."""
        pair_names = {f"head.{name}" for name in self.head.pair_parameters()}
        groups: list[list[nn.Parameter]] = [[], []]
        for name, parameter in self.named_parameters():
            groups[name in pair_names].append(parameter)
        return [group for group in groups if group]

    def weights_hash(self) -> str:
        """SHA-256 over the names and bytes of all weights and statistics."""
        return weights_hash(self.state_dict())


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and bytes of a network's weights and statistics."""
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
