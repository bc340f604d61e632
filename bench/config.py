"""What a run is made of: the recipe of the paper as typed defaults, and how it is read, changed and hashed.

Every field can be changed by a study, a preset or `--set key=value` (for example `--set training.epochs=2`); unknown
keys are refused with the valid ones. Sources: [P] paper, section 6.2; [I] public implementation; [C] choice made here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import UserError

TEST_SETS: dict[str, tuple[str, ...]] = {
    "market": ("cuhk03", "msmt"),
    "cuhk03": ("market", "msmt"),
    "cuhk03_labeled": ("market", "msmt"),
    "msmt": ("cuhk03", "market"),
    "msmt_all": ("cuhk03", "market"),
    "randperson": ("cuhk03", "market", "msmt"),
}
"""Test sets by training set (PROTOCOL, section 4)."""

TRAINING_BY_SET: dict[str, dict[str, int]] = {"randperson": {"epochs": 4, "decay_after": 2}}
"""Where the paper's schedule depends on the training set [P]."""

Option = bool | int | float | str | None


class Settings(BaseModel):
    """Base of all configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(Settings):
    """Size in pixels to which every image is resized, bicubic [P]."""

    height: int = Field(384, ge=16)
    width: int = Field(128, ge=16)


ArchitectureName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2"]


@dataclass(frozen=True)
class Architecture:
    """The choices that an architecture leaves; the first of `ibn`, and `cut`, hold where nothing is said."""

    ibn: tuple[str, ...]
    """Kinds of instance normalisation."""
    cuts: tuple[str, ...]
    """Published names of the stages or blocks behind which it may be cut, from the first to the last."""
    cut: str
    """The last one of stride 16: its map has as many places for all architectures."""


_RESNET = Architecture(("b", "none", "a"), ("layer1", "layer2", "layer3", "layer4"), "layer3")
ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "mobilenet_v2": Architecture(("none",), tuple(f"features.{number}" for number in range(19)), "features.13"),
}


class Backbone(Settings):
    """ResNet with instance normalisation (IBN-Net) [P], or MobileNetV2 of width 1.0; cut behind a stage or block.

    Where `ibn` or `cut` is not given it is the architecture's own: b and layer3 [P], none and features.13 [C].
    """

    arch: ArchitectureName = "resnet50"
    ibn: Literal["none", "a", "b"] = "b"
    cut: str = "layer3"
    weights: str | None = "imagenet"
    """"imagenet", null (from scratch), or the path of a file with the published keys."""
    batchnorm: Literal["frozen", "train"] = "frozen"
    """"frozen" keeps the running statistics of the weights [P]; "train" is for training from scratch [C]."""

    @model_validator(mode="before")
    @classmethod
    def _own_choices(cls, values: Any) -> Any:
        arch = values.get("arch") if isinstance(values, Mapping) else None
        own = ARCHITECTURES.get(arch) if isinstance(arch, str) else None
        return {"ibn": own.ibn[0], "cut": own.cut, **values} if own else values

    @model_validator(mode="after")
    def _parts_fit(self) -> Backbone:
        check_architecture(self.arch, self.ibn, self.cut)
        return self


def check_architecture(arch: str, ibn: str, cut: str) -> None:
    """Raise ValueError if there is no such backbone."""
    if arch not in ARCHITECTURES:
        raise ValueError(f"no backbone {arch!r}; known: {', '.join(ARCHITECTURES)}")
    own = ARCHITECTURES[arch]
    if ibn not in own.ibn:
        raise ValueError(f"backbone.ibn={ibn}: {arch} is there with IBN {', '.join(own.ibn)} only")
    if cut not in own.cuts:
        raise ValueError(
            f"backbone.cut={cut}: {arch} can be cut behind {own.cuts[0]} to {own.cuts[-1]} (say {own.cut})"
        )


class Augmentation(Settings):
    """Random changes of training images, in this order [I]; `pad` in pixels, `rotation` in degrees."""

    enabled: bool = True
    pad: int = Field(10, ge=0)
    flip: float = Field(0.5, ge=0, le=1)
    rotation: float = Field(5.0, ge=0, le=180)
    jitter_low: float = Field(0.5, gt=0)
    jitter_high: float = Field(2.0, gt=0)
    hue: float = Field(0.1, ge=0, le=0.5)
    erase: float = Field(0.8, ge=0, le=1)
    """Largest side of the white square as a share of the shorter image side; 0 switches it off."""


class Training(Settings):
    """Optimiser, schedule and graph sampler (PROTOCOL, section 3)."""

    epochs: int = Field(15, ge=1)
    persons: int = Field(16, ge=2)
    images: int = Field(4, ge=2)
    """A batch holds `persons` x `images` images [P]."""
    steps_per_epoch: int | None = Field(None, ge=1)
    """None: one step per person of the training set, as the graph sampler defines an epoch [P]."""
    lr: float = Field(0.005, gt=0)
    backbone_lr: float = Field(0.0005, gt=0)
    """Learning rate of the layers that start from ImageNet weights; from scratch `lr` holds for all."""
    schedule: Literal["step", "onecycle"] = "step"
    decay_after: int = Field(10, ge=1)
    """"step": learning rates x `decay` after each this many epochs [P]."""
    decay: float = Field(0.1, gt=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    clip: float = Field(4.0, gt=0)
    """Largest gradient norm of each of the two parameter groups [P, I]."""
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "auto"
    augmentation: Augmentation = Augmentation()


Scoring = Literal["float32", "bfloat16"]


class Evaluation(Settings):
    """How images are encoded and scored against each other, in tests and by the sampler."""

    memory_gib: float = Field(2.0, gt=0)
    """Memory that scoring may take beside the network, what that needs to encode a batch, and an operator's scratch
    memory, which is some tens of MiB whatever the numbers of images."""
    batch: int = Field(64, ge=1)
    """Images encoded at a time, or fewer where the memory is short."""
    scoring: Scoring = "float32"
    """What representations are kept and multiplied in; bfloat16 halves their memory and is several times faster."""


class Recipe(Settings):
    """All that is common to the rows of a table."""

    input: Input = Input()
    backbone: Backbone = Backbone()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """CPU threads of one run; "auto" is resolved to the CPUs at hand before the run's id is made."""


class CellConfig(Recipe):
    """One run: a head with its options on a training set with a seed, and the recipe."""

    head: str
    head_digest: str = ""
    """SHA-256 of the source of a head from outside the suite, else ""."""
    width: int = Field(ge=1)
    """d, channels of the neck."""
    options: dict[str, Option] = {}
    train: str
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _parts_fit(self) -> CellConfig:
        if self.backbone.weights is None and self.backbone.batchnorm == "frozen":
            raise ValueError(
                "a backbone from scratch cannot learn with frozen statistics: set backbone.batchnorm=train"
            )
        if self.training.augmentation.jitter_low > self.training.augmentation.jitter_high:
            raise ValueError("training.augmentation.jitter_low is above jitter_high")
        return self


AnySettings = TypeVar("AnySettings", bound=Settings)


def validate(model: type[AnySettings], values: Mapping[str, Any], source: str) -> AnySettings:
    """`model` from plain values; raises UserError that names the key, the source and what would be valid."""
    try:
        return model.model_validate(values)
    except ValidationError as fault:
        raise UserError("; ".join(_explain(model, item, source) for item in fault.errors()[:3])) from fault


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries laid over one another into a new one; later ones win."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping):
                before = merged.get(key)
                merged[key] = merge(before if isinstance(before, Mapping) else {}, value)
            else:
                merged[key] = value
    return merged


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """["training.epochs=2", ...] as nested dictionaries; values are read as YAML. Raises UserError without "="."""
    import yaml

    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise UserError(f"--set needs key=value, not {assignment!r}; for example --set training.epochs=2")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as fault:
            raise UserError(f"--set {key}: cannot read the value {text!r}") from fault
        for part in reversed(key.split(".")):
            value = {part: value}
        overrides = merge(overrides, value)
    return overrides


def keys_of(model: type[Settings], prefix: str = "") -> list[str]:
    """All keys of a configuration as dotted names."""
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            keys += keys_of(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_words(text: str | None) -> list[str] | None:
    """ "a, b" as ["a", "b"], each once; None and nothing but blanks as None."""
    words = [word.strip() for word in (text or "").split(",")]
    return list(dict.fromkeys(filter(None, words))) or None


def nearest(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" for the known word closest to `word`, or ""."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def one_of(kind: str, word: str, known: Iterable[str]) -> str:
    """`word` if it is known; else UserError that lists the known words and the nearest."""
    known = list(known)
    if word not in known:
        raise UserError(f"unknown {kind} {word!r}{nearest(word, known)}; known: {', '.join(known)}")
    return word


def _explain(model: type[Settings], item: Mapping[str, Any], source: str) -> str:
    # Pydantic adds the kinds of a union, such as "constrained-int", to the place.
    key = ".".join(str(part) for part in item["loc"] if str(part).isidentifier())
    if item["type"] == "extra_forbidden":
        keys = keys_of(model)
        return f"{source}: unknown key {key!r}{nearest(key, keys)}; known keys: {', '.join(keys)}"
    if item["type"] == "value_error":
        return f"{source}: {item['msg'].removeprefix('Value error, ')}"
    return f"{source}: {key or 'configuration'}: {item['msg'].lower()}, not {item['input']!r}"
