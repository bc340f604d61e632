"""What may enter a configuration: numbers read in one way, nothing that JSON lacks, nothing that nobody could mean."""

from __future__ import annotations

import json
import math

import pytest
from called import called
from pydantic import ValidationError

from bench.config import CellConfig, Recipe, Training, digest, parse_overrides, validate
from bench.errors import UserError
from bench.study.definition import load_preset, load_study
from bench.study.plan import cell_id, plan, resolve
from bench.study.seeds import parse_seeds
from bench.values import read_yaml
from slurm.table import ResourceTable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-1", 0.1), ("1.0e-1", 0.1), ("1E5", 1e5), ("2e3", 2000.0), (".5", 0.5), ("5.", 5.0), ("-1e-3", -0.001),
        ("010", 10), ("1_000", 1000), ("0x1F", 31), ("-3", -3), ("+4", 4), ("1:30", "1:30"), ("4:00:00", "4:00:00"),
        ("2024-01-01", "2024-01-01"), ("1e", "1e"), ("e5", "e5"), ("true", True), ("no", False), ("null", None),
        ("", None), ("abc", "abc"), ("'1e-1'", "1e-1"), ("[1e1, 2]", [10.0, 2]), ("{a: 1e1}", {"a": 10.0}),
    ],
)  # fmt: skip
def test_numbers_are_read_as_python_reads_them(text, value):
    read = read_yaml(text, "here")
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["[", "a: b: c", "&a [*a]", "!!set {a}", "!!binary YQ==", "!!python/name:os.system", "9" * 5000, "[" * 500]
)
def test_what_is_no_plain_value_is_told_in_one_short_sentence(text):
    with pytest.raises(UserError, match=r"^--set key: cannot read") as fault:
        parse_overrides([f"key={text}"])
    assert "\n" not in str(fault.value) and len(str(fault.value)) < 300


@pytest.fixture
def power(tmp_path):
    """A head of one's own with an option of each kind."""
    path = tmp_path / "power.py"
    path.write_text(
        "from variants import cosine\n"
        "class Power(cosine.Cosine):\n"
        '    """A cosine with options."""\n'
        "    def __init__(self, feature_shape, *, power: float = 1.0, depth: int = 2, big: int = 1000003, free=None):\n"
        "        super().__init__(feature_shape)\n"
    )
    return str(path)


def config_of(*changes: str, head: str = "TransMatcher") -> CellConfig:
    return plan(load_study("table2"), load_preset(None), parse_overrides(changes), [head], seeds=[0])[0].config


def test_options_of_heads_take_the_same_numbers_as_the_recipe(power):
    config = config_of("options.power=1e-1", "options.depth=1e1", "training.epochs=1e1", "training.lr=1e-3", head=power)
    assert config.options == {"power": 0.1, "depth": 10, "big": 1000003, "free": None}
    assert type(config.options["depth"]) is int and config.training.epochs == 10 and config.training.lr == 0.001


def test_resources_take_the_same_numbers():
    assert ResourceTable(None, ["cpus=1e1"]).of(called("vit")).cpus == 10
    assert ResourceTable(None, ["time=4:00:00"]).of(called("vit")).time == "4:00:00"


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "inf", "nan", "1e999"])
@pytest.mark.parametrize(
    "key", ["training.lr", "training.clip", "training.augmentation.rotation", "evaluation.memory_gib", "options.power"]
)
def test_no_number_that_json_lacks_enters(key, value, power):
    with pytest.raises(UserError) as fault:
        config_of(f"{key}={value}", head=power)
    assert key.split(".")[-1] in str(fault.value)


def test_options_without_a_declared_kind_are_plain_values_too(power):
    for value in (".inf", "[1]", "{a: 1}", '"a\\nb"'):
        with pytest.raises(UserError, match=r"options\.free takes"):
            config_of(f"options.free={value}", head=power)
    assert config_of("options.free=text", head=power).options["free"] == "text"


def test_no_hash_is_made_of_what_json_lacks():
    with pytest.raises(ValueError):
        digest({"clip": math.inf})


@pytest.mark.parametrize("value", [".inf", "inf", "none", "off", "no"])
def test_who_wants_no_clipping_is_told_the_word_for_it(value):
    with pytest.raises(UserError, match="null for no clipping"):
        config_of(f"training.clip={value}")


def test_null_is_no_clipping_and_another_run():
    config = config_of("training.clip=null")
    assert config.training.clip is None
    assert CellConfig.model_validate_json(config.model_dump_json()) == config
    assert Training.model_validate(json.loads(Training().model_dump_json())).clip == 4.0


@pytest.mark.parametrize(
    "change",
    [
        "threads=100000000", "training.epochs=1e9", "training.persons=100000000", "training.images=100000000",
        "training.steps_per_epoch=1e12", "training.decay_after=1e9", "input.height=1000000", "input.width=1000000",
        "width=10000000", "options.layers=99999999999999999999", "options.feedforward=1e9", "evaluation.batch=1e9",
        "evaluation.memory_gib=1e9", "training.augmentation.pad=1e9",
    ],
)  # fmt: skip
def test_numbers_that_nobody_could_mean_are_refused_in_one_sentence(change):
    with pytest.raises(UserError) as fault:
        config_of(change)
    assert change.split("=")[0].split(".")[-1] in str(fault.value)
    assert "\n" not in str(fault.value) and len(str(fault.value)) < 200


def test_a_default_of_a_heads_own_is_not_bounded(power):
    assert config_of(head=power).options["big"] == 1000003
    with pytest.raises(UserError, match="option 'big' is above 100,000"):
        config_of("options.big=1000004", head=power)


@pytest.mark.parametrize("text", ["1000000000", "1001", "99999999999999999999,"])
def test_more_seeds_than_anybody_runs_are_refused(text):
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


def test_a_seed_of_a_large_name_is_one_seed():
    assert parse_seeds("20240131,") == [20240131]


def test_a_fault_of_a_union_is_one_sentence():
    with pytest.raises(UserError) as fault:
        validate(Recipe, {"threads": 0}, "here")
    assert str(fault.value).count("threads") == 1 and "or 'auto'" in str(fault.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--memory", "inf"), ("--memory", "nan"), ("--memory", "0"), ("--memory", "much"), ("--workers", "100000000"),
        ("--jobs", "100000000"), ("--save-every", "1e300"), ("--save-every", "inf"), ("--max-parallel", "1" * 5000),
    ],
)  # fmt: skip
def test_the_command_line_has_bounds_too(arguments, bench):
    found = bench("run", "--dry-run", *arguments)
    [sentence] = [line for line in found.err.splitlines() if "error" in line]
    assert found.code == 2 and arguments[0] in sentence and len(sentence) < 200


@pytest.mark.parametrize(
    ("label", "preset", "expected"),
    [
        ("ViT", None, "vit-msmt-s0-17fd2934cb4b"),
        ("ViT", "tiny", "vit-msmt-s0-64addf7465dc"),
        ("TransMatcher", None, "transmatcher-msmt-s0-cf151eb6bc79"),
        ("TransMatcher", "tiny", "transmatcher-msmt-s0-caeae4a9c360"),
    ],
)
def test_the_ids_of_runs_on_cpus_are_what_they_were(label, preset, expected):
    """Numerics and data are made up, so that only the form of the configuration decides.

    Those of the preset are from when it had nothing to start from.
    """
    before = {"backbone": {"weights": None, "batchnorm": "train"}, "training": {"backbone_lr": 0.0005}}
    changes = before if preset else {}
    cell = plan(load_study("table2"), load_preset(preset), changes, [label], seeds=[0])[0]
    assert cell_id(resolve(cell.config, "cpu", "fp32", 2), {"head": 1}, "f" * 64) == expected


def test_settings_refuse_what_json_lacks_wherever_they_are_made():
    with pytest.raises(ValidationError, match="finite"):
        Training(lr=math.inf)
