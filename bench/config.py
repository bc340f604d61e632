"""What a run is made of: the recipe of the paper as typed defaults, and how it is read, changed and hashed.

Every field can be changed by a study, a preset or `--set key=value` (for example `--set training.epochs=2`); unknown
keys are refused with the valid ones, and so is any value that JSON, and so a record, cannot hold. Sources: [P] paper,
section 6.2; [I] public implementation; [C] choice made here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.architectures import ARCHITECTURES, ArchitectureName, check_architecture
from bench.errors import UserError
from bench.values import read_yaml

SMALL_TEST_SETS = ("viper", "prid", "grid", "ilids")
"""Tested on several splits each; the result is the mean (PROTOCOL, section 7)."""

TEST_SETS: dict[str, tuple[str, ...]] = {
    "market": ("cuhk03", "msmt"),
    "cuhk03": ("market", "msmt"),
    "cuhk03_labeled": ("market", "msmt"),
    "msmt": ("cuhk03", "market"),
    "msmt_all": ("cuhk03", "market"),
    "randperson": ("cuhk03", "market", "msmt"),
    "market_all": ("cuhk03", "msmt"),
    "cuhk03_all": ("market", "msmt"),
    "cuhk02": SMALL_TEST_SETS,
    "cuhksysu": SMALL_TEST_SETS,
}
"""Test sets by training set (PROTOCOL, sections 4 and 6)."""

HELD_OUT = "held_out"
"""Name of the test set that is made of the training persons that a run holds out."""

OUTSIDE = "outside"
"""What a record names as its training set where the weights were trained elsewhere, nobody knows on what."""

TRAINING_BY_SET: dict[str, dict[str, int]] = {"randperson": {"epochs": 4, "decay_after": 2}}
"""Where the paper's schedule depends on the training set [P]."""

MOST_THREADS = 4096
MOST_SEED = 2**63 - 1

Option = bool | int | float | str | None


class Settings(BaseModel):
    """Base of all configuration and of all that is kept as JSON: immutable, unknown keys and inf or NaN are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Input(Settings):
    """Size in pixels to which every image is resized, bicubic [P]."""

    height: int = Field(384, ge=16, le=4096)
    width: int = Field(128, ge=16, le=4096)


class Backbone(Settings):
    """ResNet with instance normalisation (IBN-Net) [P], or MobileNetV2 of width 1.0; cut behind a stage or block.

    Where `ibn` or `cut` is not given it is the architecture's own: b and layer3 [P], none and features.13 [C].
    """

    arch: ArchitectureName = "resnet50"
    ibn: Literal["none", "a", "b"] = "b"
    cut: str = "layer3"
    weights: str | None = "imagenet"
    """"imagenet", "standin" (`bench.starts`), null (from scratch), or the path of a file with the published keys."""
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


class Augmentation(Settings):
    """Random changes of training images, in this order [I]; `pad` in pixels, `rotation` in degrees."""

    enabled: bool = True
    pad: int = Field(10, ge=0, le=4096)
    flip: float = Field(0.5, ge=0, le=1)
    rotation: float = Field(5.0, ge=0, le=180)
    jitter_low: float = Field(0.5, gt=0)
    jitter_high: float = Field(2.0, gt=0)
    hue: float = Field(0.1, ge=0, le=0.5)
    erase: float = Field(0.8, ge=0, le=1)
    """Largest side of the white square as a share of the shorter image side; 0 switches it off."""


Precision = Literal["fp32", "bf16", "fp16"]


class Training(Settings):
    """Optimiser, schedule and graph sampler (PROTOCOL, section 3)."""

    epochs: int = Field(15, ge=1, le=100_000)
    persons: int = Field(16, ge=2, le=10_000)
    images: int = Field(4, ge=2, le=10_000)
    """A batch holds `persons` x `images` images [P]."""
    steps_per_epoch: int | None = Field(None, ge=1, le=100_000_000)
    """None: one step per person of the training set, as the graph sampler defines an epoch [P]."""
    sampled_persons: int | None = Field(None, ge=2, le=100_000_000)
    """Persons that an epoch knows, drawn anew for each: for training sets whose pairs of persons are too many to score.
    None: all [P]."""
    held_out_persons: int | None = Field(None, ge=2, le=100_000_000)
    """Persons of the training set, the same for all seeds, that are not trained on; a run is tested on them alone if no
    other test sets are asked for. To choose options by. None: nobody [P]."""
    held_out_every: int | None = Field(None, ge=1, le=100_000_000)
    """Steps from one look at the learning to the next: a test on the persons held out, and the gradient norms since.
    It changes no weight and costs the time of its tests. None: no looks [P]."""
    lr: float = Field(0.005, gt=0)
    backbone_lr: float = Field(0.0005, gt=0)
    """Learning rate of the layers that start from weights; from scratch `lr` holds for all."""
    schedule: Literal["step", "onecycle"] = "step"
    decay_after: int = Field(10, ge=1, le=100_000)
    """"step": learning rates x `decay` after each this many epochs [P]."""
    decay: float = Field(0.1, gt=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    clip: float | None = Field(4.0, gt=0)
    """Largest gradient norm of each of the two parameter groups [P, I]; null for no clipping."""
    precision: Precision | Literal["auto"] = "auto"
    """"auto" is resolved, before the run's id is made, to what the GPU computes in by itself; to fp32 elsewhere."""
    compile: bool = False
    """Whether training steps go through a compiled backbone, on a GPU with channels last. It changes last bits, takes a
    C++ compiler, and some minutes at the start of a run [C]."""
    augmentation: Augmentation = Augmentation()

    @field_validator("clip", mode="before")
    @classmethod
    def _null_is_no_clipping(cls, value: Any) -> Any:
        if isinstance(value, str | bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"training.clip takes a number above 0, or null for no clipping, not {value!r}")
        return value


Scoring = Literal["float32", "bfloat16", "float16", "tf32x3"]

HALVES: tuple[Scoring, ...] = ("bfloat16", "float16")
"""Those that keep and multiply representations in 16 bits."""


class Evaluation(Settings):
    """How images are encoded and scored against each other, in tests and by the sampler."""

    memory_gib: float = Field(2.0, gt=0, le=1_000_000)
    """Memory that scoring may take beside the network, what that needs to encode a batch, and an operator's scratch
    memory, which is some tens of MiB whatever the numbers of images. On a GPU it is the host's, for scores."""
    gpu_memory_gib: float | None = Field(None, gt=0, le=1_000_000)
    """The same of a GPU's own memory: representations and blocks of pairs. None: three quarters of what is free."""
    batch: int = Field(64, ge=1, le=100_000)
    """Images encoded at a time, or fewer where the memory is short."""
    scoring: Scoring = "float32"
    """What representations are kept and multiplied in. The 16-bit types halve their memory and are several times
    faster: products are summed in float32, and all that follows is float32. tf32x3 is float32 in three products on a
    GPU's tensor cores; elsewhere it is float32."""


class Recipe(Settings):
    """All that is common to the rows of a table."""

    input: Input = Input()
    backbone: Backbone = Backbone()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] | Literal["auto"] = "auto"
    """CPU threads of one run. "auto" is resolved to the CPUs at hand before the run's id is made; on a GPU, where
    threads change no number, it stays in the id whatever was asked for."""
    tf32: bool = False
    """Whether a GPU may round operands of float32 products and convolutions to TF32, whose mantissa has 10 bits [C].
    Elsewhere it is false, whatever was asked for."""


class CellConfig(Recipe):
    """One run: a head with its options on a training set with a seed, and the recipe."""

    head: str
    head_digest: str = ""
    """SHA-256 of the source of a head from outside the suite, else ""."""
    width: int = Field(ge=1, le=100_000)
    """d, channels of the neck."""
    options: dict[str, Option] = {}
    train: str
    seed: int = Field(ge=0, le=MOST_SEED)

    @field_validator("options", mode="before")
    @classmethod
    def _options_are_plain(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, Mapping) else ():
            if not isinstance(value, Option):
                raise ValueError(f"options.{key} takes a number, a text, true, false or null, not {value!r}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"options.{key} takes a finite number, not {value!r}")
            if isinstance(value, str) and not value.isprintable():
                raise ValueError(f"options.{key} takes a printable text, not {value!r}")
        return values

    @model_validator(mode="after")
    def _parts_fit(self) -> CellConfig:
        if self.backbone.weights is None and self.backbone.batchnorm == "frozen":
            raise ValueError(
                "a backbone from scratch cannot learn with frozen statistics: set backbone.batchnorm=train"
            )
        if self.training.augmentation.jitter_low > self.training.augmentation.jitter_high:
            raise ValueError("training.augmentation.jitter_low is above jitter_high")
        if self.training.held_out_every is not None and self.training.held_out_persons is None:
            raise ValueError(
                "training.held_out_every tests on persons held out: say how many, as in training.held_out_persons=40"
            )
        return self


AnySettings = TypeVar("AnySettings", bound=Settings)


def validate(model: type[AnySettings], values: Mapping[str, Any], source: str) -> AnySettings:
    """`model` from plain values; raises UserError that names the key, the source and what would be valid."""
    try:
        return model.model_validate(values)
    except ValidationError as fault:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for item in fault.errors():
            # Pydantic adds the kinds of a union, such as "constrained-int", to the place.
            unknown = item["type"] == "extra_forbidden"
            key = ".".join(str(part) for part in item["loc"] if unknown or str(part).isidentifier())
            found.setdefault(key, []).append(item)
        sentences = [_explain(model, key, items, source) for key, items in found.items()]
        raise UserError("; ".join(sentences[:3])) from fault


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
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise UserError(f"--set needs key=value, not {assignment!r}; for example --set training.epochs=2")
        value = read_yaml(text, f"--set {key}")
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
    """SHA-256, in hexadecimal, of a value's canonical JSON. Raises ValueError for inf and NaN, which JSON lacks."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


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


def _explain(model: type[Settings], key: str, items: Sequence[Mapping[str, Any]], source: str) -> str:
    """One sentence on what is wrong with a key; a union has an item for each kind that the value is not."""
    first = items[0]
    if first["type"] == "extra_forbidden":
        keys = keys_of(model)
        return f"{source}: unknown key {key!r}{nearest(key, keys)}; known keys: {', '.join(keys)}"
    if first["type"] == "value_error":
        return f"{source}: {first['msg'].removeprefix('Value error, ')}"
    wanted = " or ".join(item["msg"].removeprefix("Input should be ").lower() for item in items)
    should = "input should be " if first["msg"].startswith("Input should be ") else ""
    return f"{source}: {key or 'configuration'}: {should}{wanted}, not {first['input']!r}"
