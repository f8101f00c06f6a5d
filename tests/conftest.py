"""What all tests share: no network, no leftovers of the user's machine, and where shared files lie."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported, and for the processes that tests start. The networks here are so small, and so many
# processes run at once, that more threads only wait for each other; those of a test that wants more sleep meanwhile.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

try:
    import ntire_sr.commands.cli
except ModuleNotFoundError as error:
    if error.name != "ntire_sr":
        raise
    pytest.exit("ntire_sr is not installed; run: pip install -e '.[test]'   (or: make test)", returncode=4)

import numpy as np
import torch
from processes import Result

from ntire_sr.core.device import BFLOAT16_VARIABLE
from ntire_sr.data.photographs import TRAINING_PHOTOGRAPHS, VALIDATION_PHOTOGRAPHS, embedded_photographs
from ntire_sr.samples.image_files import read_image, write_png

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("NTIRE_SR_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(autouse=True)
def nothing_from_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests see no cache, no settings and no download site of the machine they run on.

    `tests/instruction_sets.py` sets NTIRE_SR_BFLOAT16, which stays.
    """
    empty = tmp_path_factory.mktemp("machine")
    for name in [name for name in os.environ if name.startswith("NTIRE_SR_") and name != BFLOAT16_VARIABLE]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NTIRE_SR_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(empty / "torch"))
    monkeypatch.setattr("ntire_sr.core.pretrained.cache_folder", lambda: empty / "cache" / "ntire-sr")
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda:0", marks=GPU)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and a GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture
def in_one_thread() -> Iterator[None]:
    """This process computes as forked ones do: another number of threads may change the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def imports_as_before(tmp_path: Path) -> Iterator[None]:
    """Networks of users are imported from their folders; for the next test Python forgets them."""
    before = list(sys.path)
    yield
    sys.path[:] = before
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def shared_path(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {name} of the shared folder, which is not at {SHARED} (set NTIRE_SR_SHARED)")
    return path


def photographs(every: int = 4) -> list[np.ndarray]:
    """Each n-th photograph of Kodak, or the embedded ones where the shared folder is missing."""
    folder = SHARED / "data" / "test" / "kodak"
    embedded = embedded_photographs(TRAINING_PHOTOGRAPHS + VALIDATION_PHOTOGRAPHS)
    return [read_image(path) for path in (sorted(folder.glob("*.png"))[::every] or embedded)]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Outputs of the official scripts."""
    return shared_path("golden")


@pytest.fixture(scope="session")
def alexnet() -> Path:
    """The file of AlexNet's convolutions that comes with the package."""
    return ROOT / "toolkit" / "core" / "alexnet_features.safetensors"


@pytest.fixture(scope="session")
def squeezenet() -> Path:
    """The file of SqueezeNet's convolutions that comes with the package."""
    return ROOT / "toolkit" / "core" / "squeezenet1_1_features.safetensors"


class RecordedProgress:
    """A `Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, list[int]]] = []  # name, total, items done after each call
        self.messages: list[str] = []

    @contextmanager
    def task(self, name: str, total: int, done: int = 0):
        counts: list[int] = []
        self.tasks.append((name, total, counts))
        yield lambda items=1, note="": counts.append((counts or [done])[-1] + items)

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def ntire_sr_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """The command, called in this process as from a shell."""

    def call(*words: object) -> Result:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["ntire-sr", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            ntire_sr.commands.cli.main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """A real photograph, 96 x 128."""
    return np.ascontiguousarray(read_image(embedded_photographs(VALIDATION_PHOTOGRAPHS)[0])[60:156, 100:228])


@pytest.fixture
def small_validation(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The middles of the embedded validation photographs in their place: the package's network takes its time."""
    folder = tmp_path_factory.mktemp("validation")
    for path in embedded_photographs(VALIDATION_PHOTOGRAPHS):
        image = read_image(path)
        top, left = image.shape[0] // 2 - 48, image.shape[1] // 2 - 64
        write_png(folder / f"{path.stem}.png", np.ascontiguousarray(image[top : top + 96, left : left + 128]))
    monkeypatch.setattr(
        "ntire_sr.data.lr_images.embedded_photographs",
        lambda names: [folder / f"{Path(name).stem}.png" for name in names],
    )


@pytest.fixture
def lr_folder(tmp_path: Path, photograph: np.ndarray) -> Path:
    """Two LR photographs of different sizes, x4."""
    from ntire_sr.data.lr_images import make_lr

    write_png(tmp_path / "HR" / "0801.png", photograph)
    write_png(tmp_path / "HR" / "0802.png", np.ascontiguousarray(photograph[:64, :80]))
    make_lr(tmp_path / "HR", tmp_path / "LR", 4)
    return tmp_path / "LR"


@pytest.fixture(scope="session")
def first_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run folder lies that `trained` copies."""
    return tmp_path_factory.mktemp("once") / "trained"


@pytest.fixture
def trained(tmp_path: Path, first_trained: Path) -> Path:
    """The run folder of a training of two steps on the embedded photographs: a copy that tests may change."""
    from ntire_sr.core.run_folder import RunFolder
    from ntire_sr.training.loop import train
    from ntire_sr.training.run_config import make_run_config

    if not first_trained.exists():
        train(make_run_config(TINIEST), RunFolder(first_trained))
    return shutil.copytree(first_trained, tmp_path / "trained")


# read here, because tests themselves see no NTIRE_SR_ variables
CHROMIUM = os.environ.get("NTIRE_SR_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = [  # for containers; and nothing is fetched by the browser itself
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        try:
            opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright.Error as error:
            pytest.skip(f"needs Chromium (set NTIRE_SR_CHROMIUM to its path): {str(error).splitlines()[0]}")
        yield opened
        opened.close()


# the smallest training that goes through every line of the loop
TINIEST = {
    "model": "srgan",
    "steps": 2,
    "batch": 2,
    "patch": 32,
    "channels": 4,
    "blocks": 1,
    "discriminator_channels": 4,
    "features": "filters",
    "adversarial_start": 0.0,
    "validation": "none",
    "checkpoint_every": 1,
    "log_every": 1,
}
TINIEST_WORDS = [word for key, value in TINIEST.items() for word in ("--set", f"{key}={value}")]
