"""From a batch's loss to a step: gradients clipped in groups, SGD and its schedule, and the loss scale of fp16."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from bench.config import CellConfig, Training
from bench.errors import CellFailed
from bench.network.matcher import Matcher


class Optimizer:
    """What changes the weights. In fp16 a step whose gradient overflows is skipped, and the next loss scaled less."""

    def __init__(self, model: Matcher, config: CellConfig, steps_per_epoch: int) -> None:
        """`steps_per_epoch` is an epoch's length for the schedule, which goes on only with steps that are taken."""
        settings = config.training
        self.model, self.clip, self.precision = model, settings.clip, settings.precision
        self.sgd = _sgd(model, config)
        self.schedule = _schedule(settings, steps_per_epoch, self.sgd)
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=settings.precision == "fp16")
        self.groups = model.clip_groups()

    @property
    def rates(self) -> list[float]:
        """The present learning rate of each group of layers."""
        return [group["lr"] for group in self.sgd.param_groups]

    def step(self, loss: Tensor, hit: Tensor, place: str) -> tuple[float, float, bool]:
        """Take a step against a batch's `loss`, a scalar, unless its gradient overflows.

        Returns the loss, the share of `hit` [B] bool, and whether the step was taken. Raises CellFailed, which names
        `place`, before any weight is changed: if the loss is not finite, or the gradient though no scale is to blame.
        """
        self.sgd.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.sgd)
        norms = [_norm(group).to(loss.device) for group in self.groups]
        # Read together, since each reading waits for the GPU.
        loss_value, hit_share, *lengths = torch.stack([loss.detach(), hit.float().mean(), *norms]).tolist()
        if not math.isfinite(loss_value):
            raise CellFailed(f"training diverged in {place}: no query of the batch has a finite loss")
        taken = all(map(math.isfinite, lengths))
        if taken:
            if self.clip is not None:
                for group, norm in zip(self.groups, norms, strict=True):
                    nn.utils.clip_grads_with_norm_(group, self.clip, norm)
            # Not through the scaler, which would read once more whether the gradient is finite.
            self.sgd.step()
            self.schedule.step()
        elif not self.scaler.is_enabled() or self.scaler.get_scale() <= 1:
            raise CellFailed(f"the gradient is not finite in {place}: {self._faulty()}")
        self.scaler.update()
        return loss_value, hit_share, taken

    def state_dict(self) -> dict[str, Any]:
        """All that going on takes."""
        return {name: getattr(self, name).state_dict() for name in ("sgd", "schedule", "scaler")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)

    def _faulty(self) -> str:
        """Which parameters have a gradient that is not finite, and what may be done."""
        gradients = {name: value.grad for name, value in self.model.named_parameters() if value.grad is not None}
        faulty = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        names = " to ".join(dict.fromkeys((faulty[0], faulty[-1]))) if faulty else "by its length alone"
        other = "" if self.precision == "fp32" else ", or set training.precision=fp32"
        return (
            f"in {len(faulty)} of {len(gradients)} parameters ({names}); look between them and the scores for a root "
            f"or logarithm at 0 or a division by 0, or lower training.lr{other}"
        )


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    """The length of the gradient of some parameters, a scalar."""
    return nn.utils.get_total_norm([value.grad for value in parameters if value.grad is not None])


def _sgd(model: Matcher, config: CellConfig) -> SGD:
    """SGD with one group for layers that start from weights, if any, and one for all others."""
    settings = config.training
    pretrained = list(model.backbone.stages.parameters()) if config.backbone.weights is not None else []
    known = {id(parameter) for parameter in pretrained}
    new = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [{"params": pretrained, "lr": settings.backbone_lr}, {"params": new, "lr": settings.lr}]
    return SGD(
        [group for group in groups if group["params"]],
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
    )


def _schedule(settings: Training, steps_per_epoch: int, sgd: SGD) -> LRScheduler:
    """The learning rates' schedule, advanced after every step that is taken."""
    if settings.schedule == "step":
        return StepLR(sgd, settings.decay_after * steps_per_epoch, settings.decay)
    peaks = [group["lr"] for group in sgd.param_groups]
    return OneCycleLR(sgd, peaks, total_steps=settings.epochs * steps_per_epoch, cycle_momentum=False)
