"""The checks of a network from outside the package."""

import json

import pytest
import torch
from networks import write_network

from ntire_sr.sampling.model_check import check_model

pytestmark = pytest.mark.usefixtures("imports_as_before")
CPU = torch.device("cpu")
SMOOTH = """from torch.nn.functional import avg_pool2d, interpolate

class Smooth(Net):
    deterministic, sample_receptive_field, size = True, 3, 7

    def sample(self, lr, generator):
        wide = avg_pool2d(lr, self.size, stride=1, padding=self.size // 2, count_include_pad=False)
        return interpolate(wide, scale_factor=self.scale)

def build(scale, weights, device):
    return Smooth(scale)
"""


def check(tmp_path, body: str, scale: int | None = 4) -> dict[tuple[int, str], tuple[bool | None, str]]:
    findings = check_model(f"{write_network(tmp_path, body)}:build", None, scale, CPU)
    return {(finding.scale, finding.what): (finding.holds, finding.found) for finding in findings}


def broken(results) -> list[str]:
    return [what for (_, what), (holds, _) in results.items() if holds is False]


def test_correct_network_passes_at_both_scales(tmp_path):
    findings = check(tmp_path, SMOOTH, None)
    assert broken(findings) == [] and {scale for scale, _ in findings} == {4, 8}
    assert findings[4, "draws the same from any seed, as it states"] == (True, "the same bytes")
    assert findings[8, "draws in tiles what it draws at once (sample_receptive_field)"][0]
    assert "dB before the projection" in findings[4, "is LR-consistent"][1]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("sample_receptive_field, size = True, 3, 7", "sample_receptive_field, size = True, 2, 7", "draws in tiles what it draws at once (sample_receptive_field)"),
        ("return interpolate", "lr += self.scale / 80; self.scale += 1; self.scale -= 1; print('hm'); return interpolate", "writes nothing to standard output"),
        ("return interpolate", "assert lr.shape[2] % 2 == 0; return interpolate", "draws 37 x 23 LR pixels"),
        ("return interpolate(wide,", "self.n = getattr(self, 'n', 0) + 1; return interpolate(wide * (1 - 0.1 * self.n),", "draws the same from the same seed"),
        ("return interpolate", "return torch.zeros(1) / 0 + interpolate", "draws 48 x 32 LR pixels"),
        ("return interpolate(wide,", "return interpolate(wide.flip(1),", "fits the LR image before the projection"),
        ("return interpolate(wide,", "return interpolate(wide * 2 - 1,", "fits the LR image before the projection"),
        ("True, 3, 7", "False, None, 7", "draws another image from another seed"),
    ],
)  # fmt: skip
def test_wrong_network_fails_the_check_of_its_fault(tmp_path, old, new, what):
    assert old in SMOOTH
    assert what in broken(check(tmp_path, SMOOTH.replace(old, new)))


STATEFUL = """
class Stateful(Net):
    def trunk(self, lr):
        return lr

    def sample(self, trunk, lr, generator):
        noise = torch.randn(lr.shape, generator=generator) / 20
        CHANGE
        return torch.nn.functional.interpolate(trunk + noise, scale_factor=self.scale)

def build(scale, weights, device):
    return Stateful(scale)
"""


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ("trunk.add_(noise)", True),  # on its copy of the trunk
        ("noise = self.noise = getattr(self, 'noise', noise)", False),
        ("trunk = self.trunk_maps = getattr(self, 'trunk_maps', trunk if lr.shape[2] == 32 else 0) if lr.shape[2] == 32 else trunk", False),
    ],
)  # fmt: skip
def test_network_that_remembers_samples_or_images_fails_that_check(tmp_path, change, holds):
    results = check(tmp_path, STATEFUL.replace("CHANGE", change))
    assert results[4, "draws the same from the same seed"][0]
    assert results[4, "draws a sample the same alone and after others"][0] is holds


def test_only_a_stated_scale_that_cannot_be_built_fails(tmp_path):
    only_4 = SMOOTH.replace("return Smooth(scale)", "assert scale == 4, 'no'; return Smooth(scale)")
    findings = check(tmp_path, only_4, None)
    assert broken(findings) == [] and findings[8, "is built"][0] is None
    claims = only_4.replace("size = True, 3, 7", "size, scales = True, 3, 7, (4, 8)")
    findings = check(tmp_path, claims, None)
    assert broken(findings) == ["is built"] and "AssertionError" in findings[8, "is built"][1]


def test_command_prints_table_or_json_and_exits_with_1_on_failure(tmp_path, ntire_sr_command):
    path = write_network(tmp_path, SMOOTH)
    good = ntire_sr_command("models", "check", f"{path}:build", "--scale", 4)
    assert good.code == 0 and good.out.endswith("PASS\n"), good.err
    path = write_network(tmp_path, SMOOTH.replace("True, 3, 7", "True, 2, 7"))
    bad = ntire_sr_command("models", "check", f"{path}:build", "--scale", 4)
    assert (
        bad.code == 1 and bad.out.endswith("FAIL: 1 failed check\n") and "sample_receptive_field 2" in bad.out
    )
    content = json.loads(ntire_sr_command("models", "check", "bicubic", "--scale", 4, "--json").out)
    assert content["passes"] and content["findings"][0]["what"] == "is built"
    none = ntire_sr_command("models", "check", f"{tmp_path / 'absent.py'}:build")
    assert none.code == 2 and "does not exist" in none.err
