"""Typed settings."""

import json

import pytest

from ntire_sr.core.errors import UsageError
from ntire_sr.core.settings import convert, field_types, make, parse_words, renamed_fields, with_earlier_values
from ntire_sr.models.package_weights import shipped_weights
from ntire_sr.models.registry import MODELS
from ntire_sr.models.weights_files import read_weights
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.run_config import flat, make_run_config
from ntire_sr.training.trainers.registry import TRAINERS
from ntire_sr.training.trainers.srgan import SrganSettings


def test_unknown_key_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match="unknown setting 'bacth'\n  try: batch"):
        make_run_config({"bacth": "3"})
    with pytest.raises(UsageError, match="try: gamma"):
        make_run_config({"gama": "3"})
    with pytest.raises(UsageError, match="unknown model 'srgen'\n  try: srgan"):
        make_run_config({"model": "srgen"})
    with pytest.raises(UsageError, match="unknown preset 'tinny'"):
        make_run_config({"preset": "tinny"})


@pytest.mark.parametrize(
    ("name", "meant"), [("lr", "learning_rate"), ("batch_size", "batch"), ("Epochs", "steps")]
)
def test_name_from_other_programs_is_refused_with_what_is_meant(name, meant):
    with pytest.raises(UsageError, match=f"unknown setting '{name}'\n  try: {meant}$"):
        make_run_config({name: "3"})


def test_texts_are_converted_to_the_declared_types():
    run_config = make_run_config(
        {"model": "srgan", "steps": "7", "max_minutes": "0.5", "hr": "none", "gamma": "0.25", "batch": 3}
    )
    assert (
        run_config.config.steps,
        run_config.config.max_minutes,
        run_config.config.hr,
        run_config.config.batch,
    ) == (7, 0.5, None, 3)
    assert run_config.settings.gamma == 0.25
    assert convert("x", "yes", bool) is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", "many"),
        ("steps", "1.5"),
        ("steps", 1.5),
        ("steps", True),
        ("max_minutes", "x"),
        ("device", 3),
        ("hr", 4),
    ],
)
def test_value_of_wrong_type_is_refused(name, value):
    with pytest.raises(UsageError, match=name):
        make(TrainConfig, {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", 3),
        ("steps", 0),
        ("batch", 0),
        ("seed", -1),
        ("device", "tpu"),
        ("max_minutes", -1),
        ("patch", 50),
    ],
)
def test_value_out_of_range_is_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}"):
        make(TrainConfig, {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("channels", 0), ("gamma", -0.1), ("ema_decay", 1.0), ("learning_rate", 0.0), ("adversarial_start", 2)],
)
def test_settings_of_models_are_checked(name, value):
    with pytest.raises(UsageError, match=f"{name}"):
        make(SrganSettings, {name: value})


@pytest.mark.parametrize("value", ["inf", "-Infinity", "nan", "1e999", float("inf")])
@pytest.mark.parametrize(("record", "name"), [(TrainConfig, "max_minutes"), (SrganSettings, "learning_rate")])
def test_infinite_and_undefined_numbers_are_refused(record, name, value):
    with pytest.raises(UsageError, match=f"{name} .* is not a finite number"):
        make(record, {name: value})


def test_window_larger_than_the_patch_is_refused():
    with pytest.raises(UsageError, match="window_px 33 is more than patch 32\n  try: window_px=31"):
        make_run_config({"preset": "tiny", "patch": 32, "window_px": 33})


def test_dry_run_refuses_missing_files_and_config_without_preset_is_read(tmp_path, ntire_sr_command):
    for words in (["--set", "trunk=absent.pth"], ["--hr", "absent"], ["--set", "features_file=absent.pth"]):
        refused = ntire_sr_command("train", "--dry-run", *words)
        assert refused.code == 2 and "absent" in refused.err, words
    content = json.loads(ntire_sr_command("train", "--dry-run").out)
    del content["preset"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert ntire_sr_command("train", "--dry-run", "--config", tmp_path / "config.json").code == 0


def test_error_names_a_valid_value():
    with pytest.raises(UsageError, match="patch 50 is not a multiple of scale 4, at least 16\n  try: 48"):
        make(TrainConfig, {"patch": 50})


def test_set_overrides_preset_and_preset_overrides_defaults():
    small = make_run_config({"model": "srgan", "preset": "small", "channels": "16"})
    assert (small.config.steps, small.config.preset, small.settings.channels, small.settings.blocks) == (
        100_000,
        "small",
        16,
        16,
    )
    assert make_run_config({"model": "srgan", "start_from": "none"}).settings == SrganSettings()


@pytest.mark.parametrize(("model", "scale"), [("stochastic", 4), ("stochastic", 8), ("srgan", 4)])
def test_default_training_fine_tunes_the_package_weights(model, scale):
    config = make_run_config({"model": model, "scale": scale})
    assert (config.config.preset, config.config.start_from) == ("finetune", "package")
    metadata, _ = read_weights(shipped_weights(model, scale))
    architecture = MODELS[model].architecture
    shipped = with_earlier_values(architecture, json.loads(metadata["settings"]))
    assert {name: getattr(config.settings, name) for name in field_types(architecture)} == {
        name: shipped.get(name, getattr(architecture, name)) for name in field_types(architecture)
    }
    # a resumed run keeps what `auto` meant when it began
    assert make_run_config(flat(config)) == config


@pytest.mark.parametrize(
    ("values", "preset", "start_from"),
    [
        ({"start_from": "none"}, "tiny", None),
        ({"preset": "small"}, "small", None),
        ({"preset": "tiny"}, "tiny", None),
        ({"channels": "8"}, "tiny", None),  # another network than the package's
        ({"preset": "finetune"}, "finetune", "package"),
        ({"preset": "small", "start_from": "package"}, "small", "package"),
        ({"trunk": "rrdb.pth"}, "pretrained", None),
        ({"model": "srgan"}, "finetune", "package"),
        ({"model": "srgan", "preset": "paper"}, "paper", None),
        ({"model": "srgan", "scale": 8}, "tiny", None),  # the package has no such weights
        ({"start_from": None, "preset": "tiny"}, "tiny", None),  # as configurations of 0.1.0 have it
    ],
)
def test_initial_weights_follow_from_model_and_preset(values, preset, start_from):
    config = make_run_config(values)
    assert (config.config.preset, config.config.start_from) == (preset, start_from)


def test_set_needs_key_and_value_once():
    assert parse_words(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    for words in (["a"], ["=b"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            parse_words(words)


def test_bicubic_cannot_be_trained():
    with pytest.raises(UsageError, match="bicubic has nothing to train"):
        make_run_config({"model": "bicubic"})


@pytest.mark.parametrize("model", TRAINERS)
def test_renamed_setting_is_taken_under_its_earlier_name_with_a_warning(model):
    renamed = renamed_fields(TrainConfig, TRAINERS[model].settings)
    defaults = flat(make_run_config({"model": model, "preset": "tiny"}))
    for old, new in renamed.items():
        with pytest.warns(DeprecationWarning, match=f"the setting {old} is now {new}"):
            run_config = make_run_config({"model": model, "preset": "tiny", old: defaults[new]})
        assert flat(run_config) == defaults


def test_setting_given_by_both_its_names_is_refused():
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(UsageError, match="adversarial_start is given twice, once as adversarial_from"),
    ):
        make_run_config({"adversarial_from": "0.2", "adversarial_start": "0.3"})


def test_removed_setting_is_taken_with_its_only_value_and_a_warning():
    with pytest.warns(DeprecationWarning, match="the setting norms has no effect any more"):
        run_config = make_run_config({"model": "stochastic", "norms": "true"})
    assert run_config == make_run_config({"model": "stochastic"})
    with pytest.warns(DeprecationWarning), pytest.raises(UsageError, match="norms=no is no longer supported"):
        make_run_config({"model": "stochastic", "norms": "no"})


def test_train_notes_a_renamed_setting_on_stderr(ntire_sr_command):
    result = ntire_sr_command("train", "--set", "adversarial_from=0.3", "--dry-run")
    assert json.loads(result.out)["settings"]["adversarial_start"] == 0.3
    assert result.err.strip() == "warning: the setting adversarial_from is now adversarial_start"
