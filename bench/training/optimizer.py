"""From a batch's loss to a step: gradients clipped in groups, SGD and its schedule, and the loss scale of fp16."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from bench.config import CellConfig, Training
from bench.errors import CellFailed
from bench.journal.measures import CLIP_GROUPS
from bench.network.matcher import Matcher


@dataclass(frozen=True)
class StepOutcome:
    """What a step came to."""

    loss: float
    hit: float
    """Share of the queries that would be found."""
    taken: bool
    """Whether the weights were changed: not where a gradient overflowed in fp16."""
    gradient_norms: dict[str, float]
    """Of each clip group that has gradients, before clipping."""


class Optimizer:
    """What changes the weights. In fp16 a step whose gradient overflows is skipped, and the next loss scaled less.

    A step's numbers are read when the next one has been queued as far as its gradient, or by `settle`: then a GPU has
    them behind it and still something to do, so that neither it nor the host waits. What the numbers decide about the
    weights is decided on the device, and about the learning rate before the next step needs it.
    """

    def __init__(self, model: Matcher, config: CellConfig, steps_per_epoch: int) -> None:
        """`steps_per_epoch` is an epoch's length for the schedule, which goes on only with steps that are taken."""
        settings = config.training
        self.model, self.clip, self.precision = model, settings.clip, settings.precision
        self.fused = _has_fused_step(model.device)
        self.sgd = _sgd(model, config, self.fused)
        self.schedule = _schedule(settings, steps_per_epoch, self.sgd)
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=settings.precision == "fp16")
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.groups = [[(names[id(value)], value) for value in group] for group in model.clip_groups()]
        self._one = torch.ones((), device=model.device)
        self._unread: _Numbers | None = None

    @property
    def rates(self) -> list[float]:
        """The present learning rate of each group of layers."""
        return [group["lr"] for group in self.sgd.param_groups]

    def step(self, loss: Tensor, hit: Tensor, place: str) -> StepOutcome | None:
        """`backward`, then `update`."""
        self.backward(loss)
        return self.update(loss, hit, place)

    def backward(self, loss: Tensor) -> None:
        """The gradient of a batch's `loss`, a scalar, scaled in fp16."""
        self.sgd.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()

    def update(self, loss: Tensor, hit: Tensor, place: str) -> StepOutcome | None:
        """Take a step against the gradient, unless it or the loss is not finite. `hit` [B] bool.

        Returns the outcome of the step before, as `settle` does and with what that raises; this step's numbers bear
        the name `place`.
        """
        before = self.settle()
        self.scaler.unscale_(self.sgd)
        with_gradient = [[pair for pair in group if pair[1].grad is not None] for group in self.groups]
        gradients = [[value.grad for _, value in group] for group in with_gradient if group]
        norms = [torch.stack(torch._foreach_norm(group)) for group in gradients]
        lengths = [torch.linalg.vector_norm(group) for group in norms]
        scale = self.scaler.scale(self._one)
        numbers = torch.stack([loss.detach(), hit.float().mean(), scale, *(length.to(loss) for length in lengths)])
        self._change_weights(numbers.isfinite().all(), gradients, lengths)
        self.scaler.update()
        names = [name for group in with_gradient for name, _ in group]
        groups = [name for name, group in zip(CLIP_GROUPS, with_gradient, strict=False) if group]
        self._unread = _Numbers(place, names, groups, torch.cat([numbers, *norms]))
        return before

    def settle(self) -> StepOutcome | None:
        """Read what the last step came to, and let the schedule go on if it was taken; None if nothing is unread.

        Raises CellFailed, which names the step, if the loss was not finite, or the gradient though no scale is to
        blame; the weights are then as they were before that step.
        """
        if self._unread is None:
            return None
        numbers, self._unread = self._unread, None
        numbers.read()
        if not math.isfinite(numbers.loss):
            raise CellFailed(f"training diverged in {numbers.place}: no query of the batch has a finite loss")
        taken = all(map(math.isfinite, numbers.lengths.values()))
        if taken:
            self.schedule.step()
        elif not self.scaler.is_enabled() or numbers.scale <= 1:
            raise CellFailed(f"the gradient is not finite in {numbers.place}: {self._advice(numbers)}")
        return StepOutcome(numbers.loss, numbers.hit, taken, numbers.lengths)

    def state_dict(self) -> dict[str, Any]:
        """All that going on takes, once the last step is settled."""
        return {name: getattr(self, name).state_dict() for name in ("sgd", "schedule", "scaler")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken, whatever device that was."""
        for name, part in state.items():
            getattr(self, name).load_state_dict(part)
        for group in self.sgd.param_groups:
            group["fused"] = self.fused or None
        if self.fused:
            _begin_momentum(self.sgd)

    def _change_weights(self, finite: Tensor, gradients: list[list[Tensor]], lengths: list[Tensor]) -> None:
        """Clip the gradients and step if `finite`, a scalar, is true."""
        if self.fused:
            self.sgd.found_inf = (~finite).float()
        elif not finite:
            return
        if self.clip is not None:
            for group, length in zip(gradients, lengths, strict=True):
                torch._foreach_mul_(group, (self.clip / (length + 1e-6)).clamp(max=1.0))
        # Not through the scaler, which would wait to hear whether the gradient is finite.
        self.sgd.step()

    def _advice(self, numbers: _Numbers) -> str:
        """Which parameters have a gradient that is not finite, and what may be done."""
        faulty = numbers.faulty()
        names = " to ".join(dict.fromkeys((faulty[0], faulty[-1]))) if faulty else "by its length alone"
        other = "" if self.precision == "fp32" else ", or set training.precision=fp32"
        return (
            f"in {len(faulty)} of {len(numbers.names)} parameters ({names}); look between them and the scores for a "
            f"root or logarithm at 0 or a division by 0, or lower training.lr{other}"
        )


class _Numbers:
    """Loss, share of hits, scale of the loss and lengths of gradients of a step, on their way to the host."""

    def __init__(self, place: str, names: list[str], groups: list[str], values: Tensor) -> None:
        """`values` holds the three, the lengths of `groups` clipped together, and those of the parameters `names`."""
        self.place, self.names, self._groups = place, names, groups
        self._values = values.to("cpu", non_blocking=True)
        self._there = None
        if values.device.type == "cuda":
            self._there = torch.cuda.Event()
            self._there.record(torch.cuda.current_stream(values.device))

    def read(self) -> None:
        """Wait until the numbers are there."""
        if self._there is not None:
            self._there.synchronize()
        values = self._values.tolist()
        self.loss, self.hit, self.scale = values[:3]
        count = len(self._groups)
        self.lengths, self._of_parameters = dict(zip(self._groups, values[3:], strict=False)), values[3 + count :]

    def faulty(self) -> list[str]:
        """The parameters whose gradient is not finite, in the network's order of groups."""
        pairs = zip(self.names, self._of_parameters, strict=True)
        return [name for name, length in pairs if not math.isfinite(length)]


def _has_fused_step(device: torch.device) -> bool:
    """Whether a step is one operation there, which looks on the device itself whether it is to be taken."""
    return device.type == "cuda"


def _begin_momentum(sgd: SGD) -> None:
    """Momentum 0 for parameters that have none yet, from which the first step comes out as without it.

    Else a fused first step that is not taken would leave whatever lay in fresh memory.
    """
    for group in sgd.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            sgd.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


def _sgd(model: Matcher, config: CellConfig, fused: bool) -> SGD:
    """SGD with one group for layers that start from weights, if any, and one for all others."""
    settings = config.training
    pretrained = list(model.backbone.stages.parameters()) if config.backbone.weights is not None else []
    known = {id(parameter) for parameter in pretrained}
    new = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [{"params": pretrained, "lr": settings.backbone_lr}, {"params": new, "lr": settings.lr}]
    sgd = SGD(
        [group for group in groups if group["params"]],
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
        fused=fused or None,
    )
    if fused:
        _begin_momentum(sgd)
    return sgd


def _schedule(settings: Training, steps_per_epoch: int, sgd: SGD) -> LRScheduler:
    """The learning rates' schedule, advanced after every step that is taken."""
    if settings.schedule == "step":
        return StepLR(sgd, settings.decay_after * steps_per_epoch, settings.decay)
    peaks = [group["lr"] for group in sgd.param_groups]
    return OneCycleLR(sgd, peaks, total_steps=settings.epochs * steps_per_epoch, cycle_momentum=False)
