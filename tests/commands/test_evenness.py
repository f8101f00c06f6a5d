"""What all commands share: `--json`, `--quiet`, help with titles and examples, former spellings."""

import json
import re
import shlex

import click
import numpy as np
import pytest
from conftest import TINIEST, TINIEST_WORDS
from write_docs import all_commands, cli

from ntire_sr.samples.image_files import write_png

COMMANDS = dict(all_commands(cli))
EACH = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch, small_validation):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@EACH
def test_every_command_takes_json_and_quiet(name):
    options = {opt for option in COMMANDS[name].params for opt in option.opts}
    assert {"--json", "--quiet"} <= options


@EACH
def test_every_help_has_its_options_in_groups_and_ends_with_an_example(name, ntire_sr_command):
    command = COMMANDS[name]
    text = ntire_sr_command(*name.split(), "--help").out
    assert text.rstrip().endswith(command.examples[-1])
    for line in command.examples:  # in one line that can be copied
        assert f"  {line}\n" in text
    options = [param for param in command.params if isinstance(param, click.Option)]
    titles = list(dict.fromkeys(option.title for option in options))
    parts = re.split(r"^(\S.*):$", text, flags=re.MULTILINE)
    listed = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert [title for title in listed if title in titles] == titles and titles[-1] == "Output"
    assert listed["Other options"].startswith("\n  -h, --help")
    for option in options:
        assert re.search(rf"\n  (-., )?{option.opts[0]}", listed[option.title]), option.name


def test_commands_are_listed_in_the_order_of_the_pipeline(ntire_sr_command):
    text = ntire_sr_command("--help").out
    listed = [line.split()[0] for line in text.split("Commands:\n")[1].splitlines()]
    pipeline = ["data", "downscale", "train", "generate", "project", "score", "package", "verify", "doctor"]
    assert [name for name in listed if name in pipeline] == pipeline


def test_results_are_one_json_object_and_quiet_prints_nothing(in_empty_folder, ntire_sr_command, photograph):
    write_png(in_empty_folder / "HR" / "0001.png", photograph)
    for k in range(2):
        write_png(in_empty_folder / "theirs" / f"0001_{k}.png", photograph // (8 + k) * (8 + k))
    train = shlex.join(["train", *TINIEST_WORDS])
    lines = {
        f"{train} --run runs/json": {"weights", "steps", "steps_done", "stop_reason", "run"},
        "downscale --hr HR --out LR": {"out", "scale", "images"},
        "generate --weights bicubic --samples 1 --lr LR --out SR": {"written", "kept", "worst_db", "model"},
        "project --sr theirs --lr LR --out exact --names {stem}_{sample}": {"before", "after", "files"},
        "score --hr HR --sr exact --without-lpips --no-report": {"summary", "images", "out"},
        "package --sr SR --out a.zip": {"archives", "code", "blanks", "warnings", "worst_db"},
        "verify a.zip --lr LR --manifest SR": {"passes", "problems", "notes"},
        "data check --hr LR --patch 16": {"passes", "unreadable"},
        "doctor": {"torch", "python"},
    }
    for line, keys in lines.items():
        result = ntire_sr_command(*shlex.split(line), "--json", "--quiet")
        assert result.code == 0 and result.err == "", f"{line}\n{result.err}"
        assert keys <= json.loads(result.out).keys(), line
        again = line.replace("runs/json", "runs/quiet")
        result = ntire_sr_command(*shlex.split(again), "--quiet")
        assert (result.code, result.out, result.err) == (0, "", ""), line
    done = json.loads(ntire_sr_command("train", "--run", "runs/json", "--resume", "--json").out)
    assert (done["steps_done"], done["stop_reason"]) == (TINIEST["steps"], "finished")
    result = ntire_sr_command("generate", "--lr", "absent", "--quiet")
    assert result.code == 2 and "absent does not exist" in result.err


def test_results_of_other_samples_are_written_next_to_them(in_empty_folder, ntire_sr_command, photograph):
    generate = ("generate", "--weights", "bicubic", "--samples", 1)
    assert ntire_sr_command(*generate).code == 0
    assert ntire_sr_command("score", "--without-lpips").code == 0
    run = in_empty_folder / "runs" / "latest"
    own = (run / "score" / "score.json").read_bytes()
    assert ntire_sr_command(*generate, "--out", "SR", "--seed", 1).code == 0
    result = ntire_sr_command("score", "--sr", "SR", "--without-lpips", "--skip-missing")
    assert result.code == 0 and "tables: SR_score\n" in result.out
    assert ntire_sr_command("package", "--sr", "SR").out.count("SR_submission") == 2
    assert (run / "score" / "score.json").read_bytes() == own and not list(run.glob("*.zip"))
    # the fact sheet uses the score next to the samples
    packed = json.loads(ntire_sr_command("package", "--sr", "SR", "--json").out)
    assert "Measured by ntire-sr score" not in packed["blanks"]
    result = ntire_sr_command("score", "--sr", run / "samples", "--without-lpips")
    assert "tables: runs/latest/score" in result.out.replace("\\", "/")


def test_former_spellings_are_accepted_with_a_warning_and_not_listed(
    in_empty_folder, ntire_sr_command, photograph
):
    write_png(in_empty_folder / "HR" / "0801.png", photograph)
    write_png(in_empty_folder / "SR" / "000000.png", np.ascontiguousarray(photograph[::-1]))
    words = ("score", "--hr", "HR", "--sr", "SR", "--samples", 1, "--without-lpips", "--no-report")
    for strict, warns in (("--strict", True), ("--exit-code", False)):
        result = ntire_sr_command(*words, strict)
        assert result.code == 1 and ("--strict is deprecated; use --exit-code" in result.err) == warns
    for workers, warns in ((("--jobs", 1), True), (("--jobs=1",), True), (("--workers", 1), False)):
        result = ntire_sr_command(*words, *workers)
        assert result.code == 0 and ("--jobs is deprecated; use --workers" in result.err) == warns
    assert "deprecated" not in ntire_sr_command(*words, "--jobs", 1, "--quiet").err
    wrong = ntire_sr_command(*words, "--jobs", 0)
    assert wrong.code == 2 and "'--workers'" in wrong.err
    text = ntire_sr_command("score", "--help").out
    assert "--jobs" not in text and "--strict" not in text


def test_manifest_option_accepts_file_or_folder(in_empty_folder, ntire_sr_command):
    ntire_sr_command("generate", "--weights", "bicubic", "--samples", 1, "--out", "SR")
    assert ntire_sr_command("package", "--sr", "SR", "--out", "a.zip", "--scale", 4, "--no-code").code == 0
    words = ("verify", "a.zip", "--lr", "runs/latest/validation/LRx4")
    for manifest in ("SR", "SR/manifest.json"):
        result = ntire_sr_command(*words, "--manifest", manifest, "--regenerate", 1)
        assert result.code == 0 and "1 drawn again and found the same" in result.out, result.err
    for wrong in ("a.zip", "runs", "absent/manifest.json"):
        result = ntire_sr_command(*words, "--manifest", wrong)
        assert result.code == 2 and "manifest.json" in result.err, wrong
    result = ntire_sr_command("package", "--sr", "SR", "--out", "b.zip", "--scale", 8)
    assert result.code == 1 and "pixels, not" in result.err


def test_config_option_reproduces_a_runs_configuration(in_empty_folder, ntire_sr_command):
    def configuration(*words: object) -> dict:
        result = ntire_sr_command("train", *words, "--dry-run")
        assert result.code == 0, result.err
        return json.loads(result.out)

    given = ("--model", "stochastic", "--set", "preset=small", "--set", "gamma=0.3", "--max-minutes", 90)
    before = configuration(*given)
    path = in_empty_folder / "config.json"
    path.write_text(json.dumps(before))
    assert configuration("--config", path) == before
    changed = configuration("--config", path, "--seed", 7, "--set", "gamma=0.4")
    assert (changed.pop("seed"), changed["settings"].pop("gamma")) == (7, 0.4)
    del before["seed"], before["settings"]["gamma"]
    assert changed == before
    # an object of any settings is accepted; the preset gives the others
    path.write_text(json.dumps({"model": "stochastic", "gamma": 0.3, "batch": 3}))
    config = configuration("--config", path, "--set", "preset=small")
    assert (config["batch"], config["settings"]["gamma"], config["preset"]) == (3, 0.3, "small")


@pytest.mark.parametrize(
    ("content", "words", "code", "says"),
    [
        (None, (), 2, "does not exist"),
        ("{", (), 1, "is not valid JSON"),
        ("[]", (), 1, "holds no settings"),
        ('{"settings": 3}', (), 1, "holds no settings"),
        ('{"bacth": 3}', (), 2, "try: batch"),
        (
            '{"preset": "tiny", "settings": {}}',
            ("--set", "preset=small"),
            2,
            "which gives every setting",
        ),
    ],
)
def test_invalid_config_file_is_one_clear_error(tmp_path, ntire_sr_command, content, words, code, says):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    result = ntire_sr_command("train", "--config", path, *words, "--dry-run")
    assert result.code == code and says in result.err and "Traceback" not in result.err
