"""A network in a file outside the package, from the page of the docs to the upload; and what a hostile manifest cannot do."""

import json
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import TINIEST
from networks import LEAST, write_network
from pages import ROOT, blocks, commands
from processes import start_command
from waiting import wait_until

from ntire_sr.challenge.names import parse_sample_name
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import sha256_file
from ntire_sr.models.loading import load_model
from ntire_sr.samples.manifest import ModelCode, load_manifest
from ntire_sr.sampling.generate import Request, generate
from ntire_sr.sampling.model_check import check_model
from ntire_sr.submission.verify import verify

pytestmark = pytest.mark.usefixtures("imports_as_before")
CPU = torch.device("cpu")
PAGE, EXAMPLES = ROOT / "docs" / "own-network.md", ROOT / "docs" / "networks"


@pytest.fixture
def here(lr_folder, tmp_path, monkeypatch) -> Path:
    """A folder with HR, LR, and the network of the docs with its weights."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "plain.py", "my_net.py")
    layers = [torch.nn.Conv2d(3, 32, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(32, 48, 3, padding=1)]
    torch.save(torch.nn.Sequential(*layers).state_dict(), "my.pth")
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def test_own_network_page_shows_the_examples():
    shown = [block for block in blocks(PAGE) if block.language == "python"]
    for block, name in zip(shown, ("plain.py", "noise.py"), strict=True):
        assert "\n".join(block.lines) + "\n" == (EXAMPLES / name).read_text(encoding="utf-8")
    assert len([line for line in shown[0].lines if line]) <= 15
    section = PAGE.read_text(encoding="utf-8").split("\n## Train it\n")[1].split("\n## ")[0]
    assert section.count("\n") <= 60


def test_documented_training_of_a_network_ends_with_a_score(
    tmp_path, monkeypatch, small_validation, ntire_sr_command
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "noise.py", tmp_path)
    small = [
        f"--set={name}={value}"
        for name, value in TINIEST.items()
        if name not in ("model", "steps", "channels", "blocks")
    ]
    # of an option that is given twice the last one counts
    more = {
        "train": ["--steps", 2, *small],
        "generate": ["--samples", 2],
        "score": ["--without-lpips", "--no-report"],
    }
    for line in commands(PAGE, "Train it"):
        words = shlex.split(line)[1:]
        result = ntire_sr_command(*words, *more[words[0]])
        assert result.code == 0, f"{line}\n{result.err}"
    assert "LR-PSNR, worst single sample" in result.out
    assert ntire_sr_command("package", "--run", "runs/noise").code == 0
    with zipfile.ZipFile("runs/noise/submission-code.zip") as archive:
        assert {"network/noise.py", "weights.safetensors", "config.json"} <= {*archive.namelist()}
        assert "2 steps" in archive.read("factsheet.md").decode()


def test_documented_network_runs_through_all_commands_and_a_kill(here, ntire_sr_command):
    check, draw, *rest = next(block.commands for block in blocks(PAGE) if block.language == "sh")
    assert ntire_sr_command(*shlex.split(check)[1:]).out.endswith("PASS\n")
    words = [*shlex.split(draw)[1:], "--samples", "400"]  # of an option that is given twice the last one counts
    process = start_command(*words)
    wait_until(lambda: len(files(here / "samples")) >= 3, process)
    process.kill()
    killed = files(here / "samples")
    assert 3 <= len(killed) < 800, "the call was killed under way"
    manifest = load_manifest(here / "samples")
    manifest.samples = count = 1 + max(
        parse_sample_name(name).sample for name in killed
    )  # to be done with it sooner
    manifest.save(here / "samples")
    result = ntire_sr_command(*shlex.split(draw)[1:])
    assert result.code == 0 and "drawn by my_net.py:build, weights my.pth (" in result.out, result.err
    kept = int(re.search(r"(\d+) kept", result.out)[1])  # the kill may have come between a file and its record
    assert kept in (len(killed), len(killed) - 1) and f"{2 * count - kept} samples written" in result.out
    straight = ntire_sr_command(*shlex.split(draw)[1:], "--samples", count, "--out", "straight")
    assert straight.code == 0 and files(here / "samples") == files(here / "straight")
    printed = {}
    for line in rest:
        result = ntire_sr_command(*shlex.split(line)[1:])
        assert result.code == 0, f"{line}\n{result.out}{result.err}"
        printed[line.split()[1]] = result.out
    assert "LR-PSNR, worst single sample" in printed["score"]
    assert printed["verify"].endswith("PASS\n") and "1 drawn again and found the same" in printed["verify"]


def test_code_archive_has_code_and_weights_that_regenerate_samples(here, ntire_sr_command):
    write_network(here, "import helper\n" + LEAST)
    (here / "helper.py").write_text("")
    words = ("--model", "my_net.py:build", "--weights", "my.pth", "--lr", "LR", "--samples", 2)
    assert ntire_sr_command("generate", *words, "--out", "samples").code == 0
    packed = ntire_sr_command("package", "--sr", "samples", "--out", "out.zip")
    assert packed.code == 0 and "warning" not in packed.err
    with zipfile.ZipFile("out-code.zip") as archive:
        archive.extractall("extracted")
    sheet = Path("extracted/factsheet.md").read_text(encoding="utf-8")
    # two numbers of the fact sheet that nothing here can know
    assert "**Parameters:** **[TO BE FILLED IN]**" in sheet and "**Total complexity:** **[TO" in sheet
    assert load_manifest(here / "samples").settings.code_sha256 in sheet
    assert Path("extracted/weights.pth").read_bytes() == Path("my.pth").read_bytes()
    assert sorted(path.name for path in Path("extracted/network").iterdir()) == ["helper.py", "my_net.py"]
    (line,) = re.findall(r"^ntire-sr .*$", Path("extracted/REPRODUCE.md").read_text(encoding="utf-8"), re.M)
    line = line.replace("LR_FOLDER", str(here / "LR"))
    (here / "my_net.py").unlink()
    (here / "helper.py").write_text("changed = 1")
    again = ntire_sr_command("package", "--sr", "samples", "--out", "again.zip")
    assert again.code == 0 and "the code of my_net.py:build is missing or was changed" in again.err
    with pytest.MonkeyPatch.context() as inside:
        inside.chdir("extracted")
        assert ntire_sr_command(*shlex.split(line)[1:]).code == 0
    assert files(here / "extracted" / "samples") == files(here / "samples")


def test_fact_sheet_counts_the_parameters_of_a_network(here, ntire_sr_command):
    words = ("--model", "my_net.py:build", "--weights", "my.pth", "--lr", "LR", "--samples", 1)
    assert ntire_sr_command("generate", *words, "--out", "samples").code == 0
    assert ntire_sr_command("generate", "--weights", "bicubic", "--lr", "LR", "--out", "plain").code == 0
    for sr, said in (("samples", "16,304"), ("plain", "none: the model is not a network")):
        assert ntire_sr_command("package", "--sr", sr, "--out", f"{sr}.zip").code == 0
        with zipfile.ZipFile(f"{sr}-code.zip") as archive:
            assert f"**Parameters:** {said}\n" in archive.read("factsheet.md").decode()


def test_samples_of_two_networks_are_refused_in_one_folder(here, ntire_sr_command):
    words = [
        "generate",
        "--model",
        "my_net.py:build",
        "--weights",
        "my.pth",
        "--lr",
        "LR",
        "--samples",
        1,
        "--out",
        "SR",
    ]
    assert ntire_sr_command(*words).code == 0
    before = files(here / "SR")
    with (here / "my_net.py").open("a") as file:
        file.write("\n# changed\n\nother = build\n")
    changed = ntire_sr_command(*words)
    assert changed.code == 2 and "code_sha256: " in changed.err
    second_run = ntire_sr_command(*[str(word).replace(":build", ":other") for word in words])
    assert second_run.code == 2 and "model: my_net.py:build there, my_net.py:other asked for" in second_run.err
    shutil.copy(EXAMPLES / "plain.py", "my_net.py")
    state = torch.load("my.pth")
    torch.save({name: value / 2 for name, value in state.items()}, "my.pth")
    weights = ntire_sr_command(*words)
    assert weights.code == 2 and "weights_sha256: " in weights.err
    assert files(here / "SR") == before
    drawn = verify([here / "SR"], here / "LR")
    assert drawn.passes
    refused = ntire_sr_command(
        "verify", "SR", "--regenerate", 1, "--model", "my_net.py:build", "--weights", "my.pth"
    )
    assert refused.code == 2 and "did not draw these samples: its weights" in refused.err
    tiles = ntire_sr_command(*words[:-1], "tiles", "--tile", 8)
    assert tiles.code == 0
    least = write_network(here, name="least.py")
    refused = ntire_sr_command(
        "generate", "--model", f"{least}:build", "--lr", "LR", "--tile", 8, "--out", "least"
    )
    assert refused.code == 2 and "states no receptive field, so it is never tiled" in refused.err


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("def build(scale, weights, device):\n    return 5", "returned a int"),
        ("def build(scale, weights, device):\n    1 / 0", "ZeroDivisionError"),
        ("class Bad(Net):\n    def sample(self, lr, generator):\n        return lr / 0 * 0\nbuild = lambda *_: Bad(4)", "not a floating-point tensor of shape"),
        ("class Bad(Net):\n    def sample(self, *both):\n        return super().sample(*both) / 0\nbuild = lambda *_: Bad(4)", "values that are NaN or infinite"),
        ("class Bad(Net):\n    def sample(self, lr):\n        return lr\nbuild = lambda *_: Bad(4)", "TypeError in sample"),
        ("built = 1", "there is no function 'build'"),
        ("", "there is no function 'build'"),
    ],
)  # fmt: skip
def test_bad_network_is_one_error_and_leaves_no_folder(here, ntire_sr_command, body, part):
    words = ("generate", "--lr", "LR", "--samples", 1, "--out", "SR")
    path = write_network(here, body)
    result = ntire_sr_command(*words, "--model", f"{path}:build")
    assert result.code in (1, 2) and part in result.err and result.out == ""
    assert result.err.count("error:") == 1 and "Traceback" not in result.err
    assert not (here / "SR").exists()
    assert ntire_sr_command(*words, "--weights", "bicubic").code == 0
    before = files(here / "SR")
    assert ntire_sr_command(*words, "--model", f"{path}:build", "--overwrite").code != 0
    assert files(here / "SR") == before and (here / "SR" / "manifest.json").is_file()


def test_prints_of_a_network_go_to_stderr(here, ntire_sr_command):
    path = write_network(here, "print('imported')\n" + LEAST.replace("return", "print('built'); return"))
    result = ntire_sr_command(
        "generate", "--model", f"{path}:build", "--lr", "LR", "--samples", 1, "--out", "SR"
    )
    assert result.code == 0 and result.out.startswith("2 samples written")
    assert "imported\nbuilt\n" in result.err


# ---- manifests that want code to be run


def test_hostile_manifest_runs_no_code(here, ntire_sr_command):
    assert (
        ntire_sr_command("generate", "--weights", "bicubic", "--lr", "LR", "--samples", 1, "--out", "SR").code
        == 0
    )
    evil = "from pathlib import Path\nPath('ran').touch()\ndef build(*_):\n    Path('ran').touch()\n"
    (here / "evil.py").write_text(evil)
    torch.save({}, "evil.pth")
    content = json.loads((here / "SR" / "manifest.json").read_text())
    code = {"folder": "..", "files": {"evil.py": sha256_file(here / "evil.py")}, "parameters": 3}
    content["code"] = code
    content["weights"] = "../evil.pth"
    content["settings"] |= {
        "model": "evil.py:build",
        "code_sha256": ModelCode(**code).sha256,
        "weights_sha256": sha256_file(here / "evil.pth"),
    }
    for model in ("evil.py:build", str(here / "evil.py:build"), "evil:build", "bicubic"):
        content["settings"]["model"] = model
        (here / "SR" / "manifest.json").write_text(json.dumps(content))
        hostile = load_manifest(here / "SR")
        for record in content["files"].values():
            record["settings_sha256"] = hostile.settings.digest
        (here / "SR" / "manifest.json").write_text(json.dumps(content))
        assert (
            ntire_sr_command(
                "generate", "--weights", "bicubic", "--lr", "LR", "--samples", 1, "--out", "SR"
            ).code
            == 2
        )
        assert (
            ntire_sr_command("score", "--hr", "HR", "--sr", "SR", "--without-lpips", "--out", "score").code == 0
        )
        packed = ntire_sr_command("package", "--sr", "SR", "--out", "out.zip")
        assert packed.code == 0, packed.err
        assert ntire_sr_command("verify", "out.zip", "--lr", "LR", "--manifest", "SR").code == 0
        for sr in (["SR"], ["out.zip", "--lr", "LR", "--manifest", "SR"]):
            drawn = ntire_sr_command("verify", *sr, "--regenerate", 1)
            assert drawn.code == 2 and "a network from outside of ntire-sr" in drawn.err, drawn.err
        for name in ("evil", "ntire_sr_model_evil"):
            assert name not in sys.modules
    assert not (here / "ran").exists()


@pytest.mark.parametrize("name", ["../secret.py", "/etc/secret.py", "a\\b.py", "C:secret.py", "id_rsa"])
def test_manifest_with_code_files_outside_its_folder_is_refused(here, ntire_sr_command, name):
    assert (
        ntire_sr_command("generate", "--weights", "bicubic", "--lr", "LR", "--samples", 1, "--out", "SR").code
        == 0
    )
    content = json.loads((here / "SR" / "manifest.json").read_text())
    content["code"] = {"folder": "..", "files": {name: "0" * 64}, "parameters": None}
    (here / "SR" / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(NtireSrError, match="is no Python file inside its folder"):
        load_manifest(here / "SR")


def test_unknown_model_stops_package_before_it_writes(here, ntire_sr_command):
    assert (
        ntire_sr_command("generate", "--weights", "bicubic", "--lr", "LR", "--samples", 1, "--out", "SR").code
        == 0
    )
    manifest = load_manifest(here / "SR")
    text = (here / "SR" / "manifest.json").read_text().replace('"bicubic"', '"of tomorrow"')
    (here / "SR" / "manifest.json").write_text(text)
    digest = load_manifest(here / "SR").settings.digest
    (here / "SR" / "manifest.json").write_text(text.replace(manifest.settings.digest, digest))
    before = sorted(here.rglob("*"))
    refused = ntire_sr_command("package", "--sr", "SR", "--out", "out.zip")
    assert (
        refused.code == 2 and "of tomorrow, a model that this version of ntire-sr does not know" in refused.err
    )
    assert sorted(here.rglob("*")) == before
    assert ntire_sr_command("package", "--sr", "SR", "--out", "out.zip", "--no-code").code == 0
    unknown = ntire_sr_command("verify", "SR", "--regenerate", 1)
    assert unknown.code == 2 and "--model FILE.py:FUNCTION" in unknown.err


# ---- the other ready examples


def test_noise_example_passes_the_check_and_regenerates_in_tiles(here):
    assert not [
        finding
        for finding in check_model(f"{EXAMPLES / 'noise.py'}:build", None, 4, CPU)
        if finding.holds is False
    ]
    loaded = load_model(f"{EXAMPLES / 'noise.py'}:build", 4, CPU)
    generate(Request(here / "LR", here / "SR", samples=2, tile=16), loaded, CPU)
    result = verify([here / "SR"], regenerate=4, model=f"{EXAMPLES / 'noise.py'}:build")
    assert result.passes and len(result.drawn_again) == 4 and not result.notes[1:]
