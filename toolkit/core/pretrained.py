"""Pretrained feature networks: locating and verifying their files, and downloading that of VGG-19.

A file is taken from the path given as an option, else from the path in an environment variable, else from this
package. What the package lacks, VGG-19's file, is searched for in the cache folder and torch's hub cache, and
downloaded from torchvision's site. A file is accepted if its SHA-256 begins as in torchvision's file name, or if
the tensors that are used have the known digest. Nothing but plain tensors is ever unpickled.
"""

import hashlib
import importlib.util
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import atomic_file, error_from_os_error, sha256_file
from ntire_sr.core.progress import SILENT, Progress

DOWNLOAD_SITE = "https://download.pytorch.org/models"
OFFLINE_VARIABLE = "NTIRE_SR_OFFLINE"  # if set to anything but 0, nothing is downloaded
TIMEOUT_SECONDS = 15


class NotFound(NtireSrError):
    """A pretrained file is not on this machine and could not be downloaded."""


@dataclass(frozen=True)
class Pretrained:
    """A network whose weights torchvision publishes."""

    name: str
    file_name: str  # torchvision's name, which holds the start of the SHA-256
    purpose: str
    variable: str  # environment variable that gives a path
    option: str  # command-line option or setting that gives a path
    tensors_sha256: str | None = None  # `tensors_digest` of all `features.*` tensors; None if unknown
    shipped: str | None = None  # name of its file in this folder; None if it is downloaded
    shipped_sha256: str | None = None  # of that file

    @property
    def hash_prefix(self) -> str:
        match = re.search(r"-([0-9a-f]{8})\.pth$", self.file_name)
        assert match, self.file_name
        return match[1]

    @property
    def address(self) -> str:
        return f"{DOWNLOAD_SITE}/{self.file_name}"


ALEXNET = Pretrained(
    name="alexnet",
    file_name="alexnet-owt-7be5be79.pth",
    purpose="the trunk of LPIPS, which measures the score",
    variable="NTIRE_SR_LPIPS_WEIGHTS",
    option="--lpips-weights",
    tensors_sha256="b46189e918b5839984e730473cc7329f473de17968d8502d355c0f0fd30797e7",
    shipped="alexnet_features.safetensors",
    shipped_sha256="9f97fd313f4da83dbe6bbfbe6effca1241de9edfcd7c53386261ed9697286dd9",
)
SQUEEZENET = Pretrained(
    name="squeezenet1_1",
    file_name="squeezenet1_1-b8a52dc0.pth",
    purpose="the features that training compares",
    variable="NTIRE_SR_FEATURE_WEIGHTS",
    option="--set features_file=FILE",
    tensors_sha256="f837b33e14c2b355b28d21c43ab05d411c1e65aee36259572d50b2a2be8f08ef",
    shipped="squeezenet1_1_features.safetensors",
)
VGG19 = Pretrained(
    name="vgg19",
    file_name="vgg19-dcbb9e9d.pth",
    purpose="the features that training compares",
    variable="NTIRE_SR_FEATURE_WEIGHTS",
    option="--set features_file=FILE",
)


def cache_folder() -> Path:
    """This program's folder in the user's cache folder."""
    return platformdirs.user_cache_path("ntire-sr")


def places(network: Pretrained, given: str | Path | None = None) -> list[tuple[str, Path]]:
    """Paths that are searched for the file of a network, in order: (kind of place, path)."""
    searched = [(network.option, Path(given))] if given else []
    if os.environ.get(network.variable):
        searched.append((network.variable, Path(os.environ[network.variable])))
    if network.shipped:
        searched.append(("package", Path(__file__).parent / network.shipped))
    folders = (("cache", cache_folder()), ("torch hub cache", Path(torch.hub.get_dir()) / "checkpoints"))
    for kind, folder in folders:
        for suffix in (".pth", ".safetensors"):
            searched.append((kind, (folder / network.file_name).with_suffix(suffix)))
    return searched


def locate(network: Pretrained, given: str | Path | None = None) -> tuple[str, Path] | None:
    """The first of `places` that holds the file, or None. Never downloads.

    Raises:
        NtireSrError: the path given by the option or variable is not a file; another place might hold other
            weights than the user asked for.
    """
    for kind, path in places(network, given):
        if path.is_file():
            return kind, path
        if kind in (network.option, network.variable):
            raise NtireSrError(f"{kind} names {path}, which is not a file", f"correct {kind}, or leave it out")
    return None


def find(network: Pretrained, given: str | Path | None = None, progress: Progress = SILENT) -> Path:
    """The file of a network, downloaded into the cache folder if it is not on this machine.

    Raises:
        NotFound: it cannot be downloaded; the message gives the file, its address and where to put it.
    """
    located = locate(network, given)
    return located[1] if located else download(network, progress)


def download(network: Pretrained, progress: Progress = SILENT) -> Path:
    """Download the file into the cache folder and check the start of its SHA-256.

    Raises:
        NotFound: it cannot be downloaded or kept; the message gives the file, its address and where to put it.
    """
    import http.client
    import urllib.request

    target = cache_folder() / network.file_name
    remedy = f"fetch {network.address} elsewhere and put it at {target}, or name it with {network.variable}"
    what = f"the pretrained {network.name} ({network.purpose}) is not on this machine"
    if os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0"):
        raise NotFound(f"{what}, and {OFFLINE_VARIABLE} forbids downloads", remedy)
    try:
        with atomic_file(target) as part:
            with urllib.request.urlopen(network.address, timeout=TIMEOUT_SECONDS) as response:
                mebibytes = -(-int(response.headers.get("Content-Length") or 0) >> 20)
                with open(part, "wb") as file, progress.task(f"fetch {target.name}, MiB", mebibytes) as advance:
                    while block := response.read(1 << 20):
                        file.write(block)
                        advance()
            digest = sha256_file(part)
            if not digest.startswith(network.hash_prefix):
                raise NotFound(
                    f"{network.address} has SHA-256 {digest[:8]}..., not {network.hash_prefix}...: "
                    "it is incomplete, damaged or replaced",
                    remedy,
                )
    except NotFound:
        raise
    except (OSError, http.client.HTTPException, ValueError, NtireSrError) as error:
        reason = str(error) or type(error).__name__
        raise NotFound(f"{what} and cannot be fetched from {network.address} ({reason})", remedy) from error
    return target


def load(network: Pretrained, path: Path) -> dict[str, Tensor]:
    """The verified `features.*` tensors of a network, float32, from a .safetensors or .pth file.

    Raises:
        NtireSrError: the file is unreadable, or holds another network.
    """
    tensors = {key: value.float() for key, value in read_tensors(path).items() if key.startswith("features.")}
    digest_fits = network.tensors_sha256 is not None and tensors_digest(tensors) == network.tensors_sha256
    if not digest_fits and not sha256_file(path).startswith(network.hash_prefix):
        raise NtireSrError(
            f"{path} does not hold torchvision's {network.name} ({network.file_name}): its tensors have another digest",
            f"leave out {network.option} and {network.variable}"
            if network.shipped
            else f"fetch {network.address}",
        )
    return tensors


# names under which training programs save the dictionary of tensors, the most wanted first
_NESTED = (
    "params_ema",
    "ema",
    "model_ema",
    "params",
    "generator",
    "netG",
    "net_g",
    "model",
    "state_dict",
    "model_state_dict",
)
# prefixes of all tensors of a network, or of the one network that draws among several
_PREFIXES = ("module.", "_orig_mod.", "params_ema.", "model_ema.", "params.", "generator.", "netG.", "net_g.")


def without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network that draws, without the prefixes that training programs and wrappers add.

    If only some of the names have such a prefix, as in a file with a discriminator, the others are left out.

    >>> list(without_prefixes({"module.generator.conv.bias": torch.zeros(1), "module.critic.bias": torch.zeros(1)}))
    ['conv.bias']
    """
    named = dict(tensors)
    while prefix := next((p for p in _PREFIXES if any(name.startswith(p) for name in named)), None):
        named = {name[len(prefix) :]: value for name, value in named.items() if name.startswith(prefix)}
    return named


def read_tensors(path: Path, nested: bool = False) -> dict[str, Tensor]:
    """All tensors of a .safetensors or .pth file on the CPU; anything else inside is refused.

    Args:
        path: the file.
        nested: whether the file may be a checkpoint of another training program: its tensors are then also found
            inside dictionaries such as `params_ema` or `state_dict`, and lose prefixes such as `module.`.

    Raises:
        NtireSrError: the file cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return without_prefixes(load_file(path)) if nested else load_file(path)
        with warnings.catch_warnings():
            # warnings about how the file was written; its content is checked below
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise error_from_os_error(error, f"cannot read {path}") from error
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NtireSrError(f"{path} is no readable weights file ({reason})", "replace the file") from error
    while nested and isinstance(content, Mapping):
        inner = next((content[name] for name in _NESTED if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise NtireSrError(
            f"{path} is not a dictionary of tensors", "give a state dictionary, as torchvision publishes it"
        )
    return without_prefixes(content) if nested else dict(content)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and little-endian float32 values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().float().contiguous().numpy()
        digest.update(f"{name}{value.shape}".encode())
        digest.update(value.astype("<f4").tobytes())
    return digest.hexdigest()


def lpips_linear_layers() -> list[Tensor]:
    """The five linear layers of LPIPS(alex, v0.1), each (1, C, 1, 1), from the installed `lpips` package.

    Its files are read without importing it: `import lpips` imports torchvision, which crashes next to
    a CPU build of torch.
    """
    spec = importlib.util.find_spec("lpips")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = next((p for f in folders if (p := Path(f) / "weights" / "v0.1" / "alex.pth").is_file()), None)
    if path is None:
        raise NtireSrError(
            "the package lpips, whose linear layers LPIPS needs, is not installed", "pip install lpips"
        )
    tensors = read_tensors(path)
    return [tensors[f"lin{layer}.model.1.weight"].float() for layer in range(5)]
