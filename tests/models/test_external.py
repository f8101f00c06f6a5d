"""Networks from outside the package: how they are named, recorded and checked."""

import sys
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from networks import LEAST, write_network
from torch import nn

from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import sha256_file
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.adapter import StderrRedirect, adapt
from ntire_sr.models.loading import load_model
from ntire_sr.sampling.sampler import Sampler

pytestmark = pytest.mark.usefixtures("imports_as_before")
CPU = torch.device("cpu")
LR = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def build(model: object, weights: Path | None = None, scale: int = 4):
    return load_model(str(model), scale, CPU, weights=weights)


def draw(generator, seed: int = 0, lr: torch.Tensor = LR) -> torch.Tensor:
    return Sampler(SimpleNamespace(generator=generator, scale=4), CPU, False, 0).sample(
        lr, generator.trunk(lr), seed
    )


# ---- networks that work


def test_file_and_function_name_a_network_with_the_digest_of_the_file(tmp_path):
    path = write_network(tmp_path)
    made = build(f"{path}:build")
    assert made.name == "my_net.py:build" and made.code.files == {"my_net.py": sha256_file(path)}
    assert draw(made.generator).shape == (1, 3, 24, 32)
    assert not torch.equal(draw(made.generator, 0), draw(made.generator, 1))
    assert torch.equal(draw(made.generator, 0), draw(made.generator, 0))


def test_build_gets_scale_weights_and_device(tmp_path):
    path = write_network(
        tmp_path, "def build(*given):\n    print(given)\n    given[1].read_text()\n    return Net(given[0])"
    )
    (tmp_path / "a.pth").write_text("weights")
    made = build(f"{path}:build", tmp_path / "a.pth", 8)
    assert made.generator.printed.text == f"(8, {tmp_path / 'a.pth'!r}, device(type='cpu'))\n"


def test_code_of_a_network_is_what_it_imports_from_its_folder(tmp_path):
    path = write_network(tmp_path, "import layers.up, json\n" + LEAST)
    (tmp_path / "layers").mkdir()
    for name in ("layers/__init__.py", "layers/up.py", "unused.py"):
        (tmp_path / name).write_text("")
    code = build(f"{path}:build").code
    assert sorted(code.files) == ["layers/__init__.py", "layers/up.py", "my_net.py"]
    (tmp_path / "layers" / "up.py").write_text("changed = True")
    assert build(f"{path}:build").code.sha256 != code.sha256
    assert "changed" in vars(sys.modules["layers.up"])
    # a network of another folder gets that folder's module of the same name
    second_folder = tmp_path / "second"
    (second_folder / "layers").mkdir(parents=True)
    (second_folder / "layers" / "up.py").write_text("")
    build(f"{write_network(second_folder, 'import layers.up' + chr(10) + LEAST)}:build")
    assert Path(sys.modules["layers.up"].__file__).parents[1] == second_folder


def test_modules_of_the_current_folder_and_nested_functions_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_mine").mkdir()
    write_network(tmp_path / "nets_of_mine", LEAST + "\nclass made:\n    build = build")
    made = build("nets_of_mine.my_net:made.build")
    assert made.name == "nets_of_mine.my_net:made.build"
    assert list(made.code.files) == ["nets_of_mine/my_net.py"] and Path(made.code.folder) == tmp_path


def test_entry_points_of_installed_packages_are_listed_without_import(tmp_path, monkeypatch, ntire_sr_command):
    (tmp_path / "theirs-1.5.dist-info").mkdir()
    (tmp_path / "theirs-1.5.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1.5\n")
    points = "[ntire_sr.models]\ntheir-net = their_net:build\nbicubic = their_net:build\n"
    (tmp_path / "theirs-1.5.dist-info" / "entry_points.txt").write_text(points)
    write_network(tmp_path, LEAST, name="their_net.py")
    monkeypatch.syspath_prepend(tmp_path)
    listed = ntire_sr_command("models").out
    for part in (
        "stochastic",
        "included for scale 4 and 8",
        "their-net",
        "theirs 1.5",
        "their_net:build",
    ):
        assert part in listed
    assert "their_net" not in sys.modules
    loaded = load_model("their-net", None, CPU)
    assert (loaded.name, loaded.scale, loaded.weights) == ("their_net:build", 4, None)
    assert load_model("bicubic", None, CPU).code is None  # the package's own names stay its own
    assert '"name": "their-net"' in ntire_sr_command("models", "--json").out


class Form:
    """A network that records the types of its arguments."""

    def __init__(self, **more):
        self.called = []
        vars(self).update(more)

    def sample(self, *given):
        self.called.append([value if isinstance(value, str) else type(value).__name__ for value in given])
        return torch.zeros(1, 3, 24, 32)


@pytest.mark.parametrize(
    ("more", "called"),
    [
        ({}, ["Tensor", "Generator"]),
        ({"trunk": lambda lr: "trunk"}, ["trunk", "Tensor", "Generator"]),
        ({"latents": lambda lr, generator: "noise"}, ["Tensor", "noise"]),
        (
            {"trunk": lambda lr: "trunk", "latents": lambda lr, generator: "noise"},
            ["trunk", "Tensor", "noise"],
        ),
        ({"trunk": nn.Identity(), "deterministic": True}, ["Tensor", "Generator"]),  # a layer of this name
    ],
)
def test_sample_gets_trunk_first_and_latents_instead_of_generator(more, called):
    network = Form(**more)
    draw(adapt(network, "net", 4, CPU, StderrRedirect()))
    assert network.called == [called]


def test_network_cannot_change_the_lr_image_or_global_random_state():
    def sample(lr, generator):
        lr.mul_(0)
        return torch.rand_like(torch.empty(1, 3, 24, 32)) + lr.mean()

    generator = adapt(SimpleNamespace(sample=sample), "net", 4, CPU, StderrRedirect())
    lr, before = LR.clone(), torch.random.get_rng_state()
    first, second, again = (draw(generator, seed, lr) for seed in (1, 2, 1))
    assert torch.equal(lr, LR) and torch.equal(torch.random.get_rng_state(), before)
    # also numbers that it takes from torch's global generator follow from the sample's seed
    assert torch.equal(first, again) and not torch.equal(first, second)


Maps = namedtuple("Maps", "wide narrow")


@dataclass(frozen=True)
class Features:
    wide: torch.Tensor


FORMS = {  # trunk in several forms, with a function that gives its tensor
    "tensor": (lambda wide: wide, lambda trunk: trunk),
    "list": (lambda wide: [1, wide], lambda trunk: trunk[1]),
    "named tuple": (lambda wide: Maps(wide, None), lambda trunk: trunk.wide),
    "dictionary": (lambda wide: {"maps": [wide]}, lambda trunk: trunk["maps"][0]),
    "frozen data class": (Features, lambda trunk: trunk.wide),
    "array": (lambda wide: wide.numpy(), torch.from_numpy),
}


@pytest.mark.parametrize("form", FORMS)
def test_sample_is_the_same_if_network_changes_its_trunk_in_place(form):
    wrap, tensor_of = FORMS[form]

    def trunk(lr):
        return wrap(nn.functional.interpolate(lr, scale_factor=4))

    def sample(trunk, lr, generator):
        return tensor_of(trunk).add_(torch.rand(1, 3, 24, 32, generator=generator))

    generator = adapt(SimpleNamespace(trunk=trunk, sample=sample), "net", 4, CPU, StderrRedirect())
    shared = generator.trunk(LR)
    alone = draw(generator, 2)
    sampler = Sampler(SimpleNamespace(generator=generator, scale=4), CPU, False, 0)
    assert torch.equal([sampler.sample(LR, shared, seed) for seed in (0, 1, 2)][2], alone)


def test_network_may_draw_every_sample_into_the_same_tensor():
    out = torch.zeros(1, 3, 24, 32)
    network = SimpleNamespace(sample=lambda lr, generator: out.uniform_(generator=generator))
    generator = adapt(network, "net", 4, CPU, StderrRedirect())
    first, second = draw(generator, 1), draw(generator, 2)
    assert not torch.equal(first, second) and torch.equal(first, draw(generator, 1))


def test_tiles_are_not_changed_by_the_tile_before():
    def sample(trunk, lr, latents):
        return nn.functional.interpolate(trunk.mul_(2) + latents.mul_(2), scale_factor=4)

    network = SimpleNamespace(
        trunk=lambda lr: lr / 8, latents=lambda lr, generator: lr / 8, sample=sample, sample_receptive_field=4
    )
    generator = adapt(network, "net", 4, CPU, StderrRedirect())
    whole = draw(generator)
    in_tiles = Sampler(SimpleNamespace(generator=generator, scale=4), CPU, False, 4)
    assert torch.equal(in_tiles.sample(LR, generator.trunk(LR), 0), whole)


def test_network_is_in_evaluation_mode_and_can_compute_gradients():
    class Guided(nn.Module):
        deterministic = True

        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 48, 1)

        def sample(self, lr, generator):
            assert not self.training
            with torch.enable_grad():
                start = lr.clone().requires_grad_()
                (step,) = torch.autograd.grad(self.layer(start).sum(), start)
            return nn.functional.pixel_shuffle(self.layer(lr + step), 4)

    generator = adapt(Guided(), "net", 4, CPU, StderrRedirect())
    assert draw(generator).abs().max() > 0 and generator.parameter_count == 3 * 48 + 48


def test_out_of_memory_error_says_that_the_network_is_never_tiled():
    def sample(lr, generator):
        raise RuntimeError("CUDA out of memory. Tried to allocate 3 TiB")

    generator = adapt(SimpleNamespace(sample=sample), "net", 4, CPU, StderrRedirect())
    with pytest.raises(
        NtireSrError, match=r"8 x 6 pixels do not fit into the memory of cpu.*states no receptive field"
    ):
        draw(generator)
    calls = []

    def small(lr, generator):
        calls.append(lr.shape[2:])
        if max(lr.shape[2:]) > 24:
            sample(lr, generator)
        return torch.zeros(1, 3, lr.shape[2] * 4, lr.shape[3] * 4)

    tiled = SimpleNamespace(sample=small, deterministic=True, sample_receptive_field=2)
    draw(adapt(tiled, "net", 4, CPU, StderrRedirect()), lr=torch.zeros(1, 3, 4, 60))
    assert [tuple(size) for size in calls] == [(4, 60), (4, 32), (4, 17), (4, 19), (4, 19), (4, 17)]


# ---- networks that are refused


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("def build(scale, weights, device):\n    return 5", "returned a int, not an object with a method sample"),
        ("def build(scale, weights, device):\n    return Net", "returned the class Net, not an object"),
        ("def build(scale, weights, device):\n    return None", "returned None"),
        ("def build(scale, weights, device):\n    return torch.nn.Conv2d(3, 3, 1)", "def sample(self, lr, generator)"),
        ("def build(scale, weights, device):\n    1 / 0", "ZeroDivisionError while it was built: division by zero (my_net.py, line 12, in build)"),
        ("def build(scale):\n    return Net(scale)", "takes 1 positional argument but 3 were given"),
        ("import nothing_of_this_name", "ModuleNotFoundError when it was imported"),
        ("raise SystemExit('usage')", "raised SystemExit when it was imported: usage"),
        ("def build(", "SyntaxError when it was imported: '(' was never closed (my_net.py, line 11)"),
        ("build = 3", "is not a function"),
        ("def biuld(scale, weights, device): ...", "there is no function 'build'"),
        ("class Net4(Net):\n    scales = (8,)\ndef build(*_):\n    return Net4(4)", "draws scale 8, not 4"),
        ("class Odd(Net):\n    scales = 4\ndef build(*_):\n    return Odd(4)", "states scales = 4"),
        ("class Odd(Net):\n    deterministic = 'no'\ndef build(*_):\n    return Odd(4)", "states deterministic = 'no'"),
        ("class Odd(Net):\n    sample_receptive_field = -1\ndef build(*_):\n    return Odd(4)", "states sample_receptive_field = -1"),
        ("class Odd(Net):\n    sample_receptive_field = 3\ndef build(*_):\n    return Odd(4)", "noise of one tile would not fit"),
    ],
)  # fmt: skip
def test_network_that_cannot_be_built_gives_one_error_with_the_reason(tmp_path, body, part):
    with pytest.raises(NtireSrError) as caught:
        build(f"{write_network(tmp_path, body)}:build")
    assert part in str(caught.value), str(caught.value)
    assert caught.value.remedy and "my_net.py" in caught.value.message


@pytest.mark.parametrize(
    ("sr", "part"),
    [
        (lambda shape: torch.full(shape, float("nan")), "values that are NaN or infinite"),
        (
            lambda shape: torch.zeros(1, 3, 12, 16),
            "a torch.float32 tensor of shape (1, 3, 12, 16), not a floating",
        ),
        (lambda shape: torch.zeros(shape, dtype=torch.uint8), "a torch.uint8 tensor"),
        (lambda shape: torch.full(shape, 255.0), "values of up to 255, not values about in [0, 1]"),
        (lambda shape: torch.zeros(shape).numpy(), "a ndarray, not"),
        (lambda shape: None, "returned None"),
        (
            lambda shape: torch.zeros(shape, device="meta"),
            "a meta torch.float32 tensor of shape (1, 3, 24, 32), not a",
        ),
        (
            lambda shape: torch.zeros(shape).to_sparse(),
            "a sparse_coo torch.float32 tensor of shape (1, 3, 24, 32), not a",
        ),
    ],
)
def test_wrong_result_of_sample_is_named(sr, part):
    network = SimpleNamespace(sample=lambda lr, generator: sr((1, 3, 24, 32)))
    with pytest.raises(NtireSrError) as caught:
        draw(adapt(network, "net", 4, CPU, StderrRedirect()))
    assert f"net: sample returned {part.removeprefix('returned ')}" in caught.value.message


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"trunk": lambda lr: [lr], "trunk_receptive_field": 2}, "trunk returned a list, not one tensor"),
        ({"trunk": lambda lr: lr[:, :, :4], "trunk_receptive_field": 2}, "trunk returned a torch.float32 tensor of shape"),
        ({"trunk": lambda lr: {"a": lr}, "sample_receptive_field": 2, "deterministic": True}, "trunk returned a dict"),
        ({"latents": lambda lr, generator: [torch.randn(5)], "sample_receptive_field": 2}, "of shape (5,), not (1, C, k * 6, k * 8)"),
    ],
)  # fmt: skip
def test_maps_that_cannot_be_cut_into_tiles_are_named(more, part):
    with pytest.raises(NtireSrError) as caught:
        draw(adapt(Form(**more), "net", 4, CPU, StderrRedirect()))
    assert part in caught.value.message


def test_earlier_receptive_field_names_work_with_a_warning():
    network = SimpleNamespace(sample=torch.nn.Identity().forward, deterministic=True, sample_reach=3)
    network.trunk, network.trunk_reach = torch.nn.Identity().forward, 2
    with pytest.warns(DeprecationWarning) as warned:
        generator = adapt(network, "net", 4, CPU, StderrRedirect())
    assert (generator.trunk_receptive_field, generator.sample_receptive_field) == (2, 3)
    assert [str(warning.message) for warning in warned] == [
        f"net: the attribute {part}_reach is deprecated; rename it to {part}_receptive_field"
        for part in ("trunk", "sample")
    ]


def test_weights_argument_never_runs_code(tmp_path):
    path = write_network(tmp_path, "raise SystemExit('this code was run')")
    for name in (f"{path}:build", str(path), "my_net:build"):
        with pytest.raises(NtireSrError) as caught:
            load_model(None, None, CPU, weights=name)
        assert "this code was run" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("absent.py:build", "the file absent.py does not exist"),
        ("absent_module.inner:build", "there is no module absent_module"),
        ("my_net.py", "try: my_net.py:build, with the name of its function"),
        ("my_net.py:not a name", "names no function"),
        (":build", "names no function"),
        ("stochastik", "try: stochastic; a weights file"),
    ],
)
def test_missing_network_is_a_usage_error_with_a_remedy(tmp_path, monkeypatch, model, part):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        load_model(model, None, CPU)
    assert part in str(caught.value)


def test_weights_of_another_model_are_refused(tmp_path, trained):
    path = write_network(tmp_path)
    with pytest.raises(UsageError, match=r"there are no weights at .*absent\.pth"):
        load_model(f"{path}:build", None, CPU, weights=tmp_path / "absent.pth")
    with pytest.raises(UsageError, match="holds weights of srgan, not of stochastic"):
        load_model("stochastic", None, CPU, weights=trained / "weights.safetensors")
    assert load_model("srgan", None, CPU, weights=trained / "weights.safetensors").name == "srgan"


def test_network_gets_a_random_generator_of_its_device(device):
    network = Form(latents=lambda lr, generator: torch.randn(lr.shape, generator=generator, device=lr.device))
    generator = adapt(network, "net", 4, device, StderrRedirect())
    latents = [generator.latents(LR.to(device), [make_generator(5)]) for _ in range(2)]
    assert latents[0].device == device and torch.equal(*latents)


def test_latents_of_a_network_depend_on_the_seed_alone():
    network = Form(latents=lambda lr, generator: torch.randn(3, generator=generator))
    generator = adapt(network, "net", 4, CPU, StderrRedirect())
    first, second = (generator.latents(LR, [make_generator(5)]) for _ in range(2))
    assert torch.equal(first, second)
