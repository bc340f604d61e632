"""Studies, presets, overrides, and the identity of a run."""

from __future__ import annotations

import pytest

import variants
from bench.config import HELD_OUT, digest, parse_overrides
from bench.errors import UserError
from bench.study.definition import load_preset, load_study, preset_names
from bench.study.plan import cell_id, plan, request_key, resolve
from bench.study.plan import tests_of as sets_of
from bench.study.seeds import parse_seeds


def cells(study="table2", preset=None, overrides=(), **choice):
    return plan(load_study(study), load_preset(preset), parse_overrides(overrides), **choice)


def identity(cell, fingerprint="f"):
    return cell_id(resolve(cell.config, "cpu"), cell.numerics, fingerprint)


def test_table_2_is_nine_rows_at_the_papers_sizes_with_four_seeds():
    found = cells()
    assert len(found) == 9 * 4
    sizes = {
        c.label: (c.config.width, c.config.options.get("feedforward"), c.config.options.get("layers")) for c in found
    }
    assert sizes == {
        "ViT": (512, 2048, 3),
        "Transformer": (512, 2048, 3),
        "TransMatcher": (512, 2048, 3),
        "QAConv-GS": (64, None, None),
        "cosine": (512, None, None),
        "Transformer-Cat": (128, 512, 2),
        "Transformer-Cross": (128, 512, 2),
        "Transformer-Cross shared FC": (128, 512, 2),
        "TransMatcher small": (128, 512, 2),
    }


def test_the_recipe_is_the_papers():
    config = cells()[0].config
    assert (config.input.height, config.input.width) == (384, 128)
    assert (config.backbone.arch, config.backbone.ibn, config.backbone.cut) == ("resnet50", "b", "layer3")
    training = config.training
    assert (training.persons * training.images, training.images, training.epochs, training.decay_after) == (
        64,
        4,
        15,
        10,
    )
    assert (training.lr, training.backbone_lr, training.clip, training.weight_decay) == (0.005, 0.0005, 4.0, 5e-4)


def test_table_3_switches_on_one_part_after_another():
    switches = [
        tuple(c.config.options[key] for key in ("fc1", "bn1", "mlp_head1", "prior_embed", "pos_embed"))
        for c in cells("table3", seeds=[0])
    ]
    no, yes = False, True
    assert switches == [
        (no, no, no, no, no),
        (no, no, yes, no, no),
        (yes, no, yes, no, no),
        (no, yes, yes, no, no),
        (yes, yes, yes, no, no),
        (yes, yes, yes, yes, no),
        (yes, yes, yes, no, yes),
        (yes, yes, yes, yes, yes),
    ]


def test_tables_share_their_common_cell():
    transmatcher = [
        next(c for c in cells(study, seeds=[0], train=["msmt"]) if c.label.endswith(label))
        for study, label in (("table1", "TransMatcher"), ("table2", "TransMatcher"), ("table3", "(TransMatcher)"))
    ]
    assert len({identity(cell) for cell in transmatcher}) == 1


def test_presets_scale_all_rows_alike():
    paper = {c.label: c.config.width for c in cells(seeds=[0])}
    for preset in preset_names():
        scaled = {c.label: c.config.width for c in cells(preset=preset)}
        assert len({paper[label] / scaled[label] for label in paper}) == 1
        assert len(cells(preset=preset)) == 9


@pytest.mark.parametrize(
    "change",
    ["training.epochs=2", "input.height=64", "width=64", "options.layers=2", "threads=7", "training.precision=bf16"],
)
def test_whatever_changes_numbers_changes_the_id(change):
    before = cells(select=["TransMatcher"], seeds=[0])[0]
    after = cells(select=["TransMatcher"], seeds=[0], overrides=[change])[0]
    assert identity(before) != identity(after)


def test_seed_data_and_numerics_change_the_id(monkeypatch):
    zero, one = cells(select=["ViT"], seeds=[0, 1])
    assert len({identity(zero), identity(one), identity(zero, "other")}) == 3
    before = identity(zero)
    monkeypatch.setattr("bench.study.numerics.TRAINER_NUMERICS", 99)
    assert identity(cells(select=["ViT"], seeds=[0])[0]) != before


def test_a_default_said_aloud_is_the_same_run():
    plain = cells(select=["TransMatcher"], seeds=[0])[0]
    said = cells(select=["TransMatcher"], seeds=[0], overrides=["options.heads=1", "training.epochs=15"])[0]
    assert identity(plain) == identity(said)


def test_keys_that_are_younger_than_ids_are_in_them_only_where_set():
    plain = cells(select=["ViT"], seeds=[0])[0]
    values = plain.config.model_dump(mode="json")
    for name in ("training.sampled_persons", "training.held_out_persons", "evaluation.gpu_memory_gib"):
        said = cells(select=["ViT"], seeds=[0], overrides=[f"{name}=null"])[0]
        other = cells(select=["ViT"], seeds=[0], overrides=[f"{name}=100"])[0]
        assert identity(plain) == identity(said) != identity(other)
        group, key = name.split(".")
        del values[group][key]
    compiled = cells(select=["ViT"], seeds=[0], overrides=["training.compile=true"])[0]
    assert identity(plain) != identity(compiled)
    held_out = cells(select=["ViT"], seeds=[0], overrides=["training.held_out_persons=100"])[0]
    overrides = ["training.held_out_persons=100", "training.held_out_every=5"]
    assert identity(held_out) != identity(cells(select=["ViT"], seeds=[0], overrides=overrides)[0])
    del values["tf32"], values["training"]["compile"], values["training"]["held_out_every"]
    config = resolve(plain.config, "cpu")
    values["training"]["precision"], values["threads"] = config.training.precision, config.threads
    whole = {"config": values, "numerics": plain.numerics, "fingerprint": "f" * 64}
    assert cell_id(config, plain.numerics, "f" * 64).endswith(digest(whole)[:12])


def test_runs_that_hold_persons_out_are_tested_on_them_alone_unless_others_are_asked_for():
    cell = cells(select=["ViT"], seeds=[0], overrides=["training.held_out_persons=9"])[0]
    assert cell.tests == sets_of(cell, None) == (HELD_OUT,)
    assert sets_of(cell, ["market", HELD_OUT]) == (HELD_OUT, "market")
    with pytest.raises(UserError, match=r"--test held_out needs .*--set training\.held_out_persons="):
        sets_of(cells(select=["ViT"], seeds=[0])[0], [HELD_OUT])


def test_auto_and_what_it_resolves_to_are_the_same_request():
    cell = cells(seeds=[0])[0]
    assert request_key(cell.config) == request_key(resolve(cell.config, "cuda", "bf16"))
    assert resolve(cell.config, "cuda", "bf16").training.precision == "bf16"
    assert resolve(cell.config, "cuda", "fp16").training.precision == "fp16"
    assert resolve(cell.config, "cpu").training.precision == "fp32"


def test_no_path_enters_the_id(tmp_path):
    ids = []
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(b"the same bytes")
        cell = cells(select=["ViT"], seeds=[0], overrides=[f"backbone.weights={tmp_path / name}"])[0]
        assert cell.weights_file == tmp_path / name
        ids.append(identity(cell))
    assert ids[0] == ids[1]
    (tmp_path / "a.pth").write_bytes(b"other bytes")
    cell = cells(select=["ViT"], seeds=[0], overrides=[f"backbone.weights={tmp_path / 'a.pth'}"])[0]
    assert identity(cell) != ids[0]


@pytest.fixture
def own_head(tmp_path):
    path = tmp_path / "my_head.py"
    source = variants.describe("vit").path.read_text().replace("class ViT", "class Mine")
    path.write_text(source)
    return path


def test_a_file_of_ones_own_runs_at_the_studys_sizes(own_head):
    cell = cells(select=[str(own_head)], seeds=[0])[0]
    assert (cell.label, cell.config.head, cell.config.width) == ("my_head", "my_head", 512)
    assert (cell.config.options["feedforward"], cell.config.options["layers"]) == (2048, 3)
    scaled = cells(select=[str(own_head)], preset="demo")[0].config
    vit = cells(select=["ViT"], preset="demo")[0].config
    assert (scaled.width, scaled.options) == (vit.width, vit.options)


def test_an_edited_file_is_another_run(own_head):
    before = identity(cells(select=[str(own_head)], seeds=[0])[0])
    own_head.write_text(own_head.read_text() + "\n# edited\n")
    assert identity(cells(select=[str(own_head)], seeds=[0])[0]) != before


@pytest.mark.parametrize(
    ("select", "labels"),
    [
        (["TransMatcher"], ["TransMatcher"]),
        (["transmatcher"], ["TransMatcher", "TransMatcher small"]),
        (["vit", "cosine"], ["ViT", "cosine"]),
        (["ViT", "vit"], ["ViT"]),
    ],
)
def test_a_label_is_one_row_and_a_head_all_its_rows(select, labels):
    assert [c.label for c in cells(select=select, seeds=[0])] == labels


@pytest.mark.parametrize(
    ("text", "seeds"), [("4", [0, 1, 2, 3]), ("0,3", [0, 3]), ("3,", [3]), ("1", [0]), ("2,2,1", [1, 2])]
)
def test_seeds_are_a_number_or_a_list(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "-1", "a", "1,-2", ""])
def test_other_seeds_are_refused(text):
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            {"study": "tabel2"},
            r"unknown study 'tabel2' \(did you mean 'table2'\?\); known: appendix_c, figure2, figured, protocol1, ",
        ),
        ({"preset": "dmeo"}, r"unknown preset 'dmeo' \(did you mean 'demo'\?\)"),
        ({"select": ["transmacher"]}, r"unknown head or row 'transmacher' \(did you mean 'transmatcher'\?\)"),
        ({"train": ["msm"]}, r"no data set 'msm'.* Did you mean msmt\?"),
        ({"overrides": ["training.epoch=2"]}, r"unknown key 'training.epoch' \(did you mean 'training.epochs'\?\)"),
        ({"overrides": ["trainig.epochs=2"]}, r"unknown key in --set 'trainig' \(did you mean 'training'\?\)"),
        (
            {"overrides": ["options.layer=2"], "select": ["ViT"]},
            r"ViT: .*no option 'layer' \(did you mean 'layers'\?\)",
        ),
        ({"overrides": ["training.epochs"]}, "--set needs key=value"),
        ({"overrides": ["training.epochs=many"]}, "training.epochs: .*, not 'many'"),
        ({"overrides": ["training.epochs=0"]}, "training.epochs: .*greater than or equal to 1, not 0"),
        ({"overrides": ["backbone.weights=/no/such/file"]}, "no file /no/such/file"),
        ({"select": ["nowhere.py"]}, "no such head file: nowhere.py"),
    ],
)
def test_what_is_unknown_is_named_with_what_is_known(choice, message):
    with pytest.raises(UserError, match=message):
        cells(**choice)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("backbone=foo", "backbone is a group of settings"),
        ("options=3", "options is a group of settings"),
        ("threads=0", "threads: "),
        ("options.bn1=abc", "option 'bn1' takes a value of type bool, not 'abc'"),
        ("options.layers=true", "option 'layers' takes a value of type int, not True"),
        ("backbone.weights=null", "frozen statistics"),
        ("training.augmentation.jitter_low=3", "jitter_low is above jitter_high"),
    ],
)
def test_values_that_cannot_work_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        cells(select=["TransMatcher"], overrides=[change])


def test_a_weights_file_serves_all_cells(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"bytes")
    found = cells(overrides=[f"backbone.weights={tmp_path / 'a.pth'}"])
    assert len({cell.config.backbone.weights for cell in found}) == 1
    assert {cell.weights_file for cell in found} == {tmp_path / "a.pth"}


def test_a_head_from_another_study_keeps_its_sizes_there():
    config = cells("table3", select=["qaconv"], seeds=[0])[0].config
    assert config.width == 64
    assert cells("table1", select=["transformer_cat"], seeds=[0], train=["msmt"])[0].config.width == 128
