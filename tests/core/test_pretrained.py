"""Pretrained files: looking up, fetching, checking."""

import hashlib
import http.server
import pickle
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ntire_sr.core import pretrained
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.files import sha256_file
from ntire_sr.core.pretrained import ALEXNET, NotFound, find, load, locate, lpips_linear_layers, tensors_digest


@pytest.fixture
def network(tmp_path):
    """A small stand-in for a torchvision network, and its file."""
    tensors = {"features.0.weight": torch.rand(2, 3, 3, 3), "features.0.bias": torch.rand(2)}
    torch.save({**tensors, "classifier.weight": torch.rand(4, 2)}, tmp_path / "made.pth")
    digest = hashlib.sha256((tmp_path / "made.pth").read_bytes()).hexdigest()
    path = (tmp_path / "made.pth").rename(tmp_path / f"net-{digest[:8]}.pth")
    made = replace(
        ALEXNET,
        shipped=None,
        name="net",
        file_name=path.name,
        variable="NTIRE_SR_TEST",
        tensors_sha256=tensors_digest(tensors),
    )
    return made, path, tensors


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A download site on this machine that serves a folder."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(folder))

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(pretrained, "DOWNLOAD_SITE", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("NTIRE_SR_OFFLINE")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_search_order_is_option_variable_cache_hub(network, monkeypatch, tmp_path):
    made, path, _ = network
    hub = tmp_path / "hub"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))
    cached, hubbed = pretrained.cache_folder() / made.file_name, hub / "checkpoints" / made.file_name
    for place in (cached, hubbed):
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
    second_file = tmp_path / "other.pth"
    second_file.write_bytes(path.read_bytes())
    monkeypatch.setenv(made.variable, str(second_file))
    assert locate(made, path) == (made.option, path)
    assert locate(made) == (made.variable, second_file)
    monkeypatch.delenv(made.variable)
    assert locate(made) == ("cache", cached)
    cached.unlink()
    assert locate(made) == ("torch hub cache", hubbed)
    hubbed.unlink()
    assert locate(made) is None


def test_missing_named_file_is_an_error(network, monkeypatch, tmp_path):
    made, path, _ = network
    with pytest.raises(NtireSrError, match=r"absent\.pth, which is not a file"):
        find(made, tmp_path / "absent.pth")
    monkeypatch.setenv(made.variable, str(tmp_path / "absent.pth"))
    with pytest.raises(NtireSrError, match="NTIRE_SR_TEST names"):
        find(made)
    assert find(made, path) == path


def test_offline_error_names_file_address_and_target(network):
    made, _, _ = network
    with pytest.raises(NotFound) as caught:
        find(made)
    text = str(caught.value)
    for part in (
        made.address,
        str(pretrained.cache_folder() / made.file_name),
        made.variable,
        "NTIRE_SR_OFFLINE",
    ):
        assert part in text


def test_download_is_cached_and_not_repeated(network, site):
    made, path, tensors = network
    (site / made.file_name).write_bytes(path.read_bytes())
    downloaded = find(made)
    assert downloaded == pretrained.cache_folder() / made.file_name
    assert load(made, downloaded).keys() == tensors.keys()
    (site / made.file_name).unlink()
    assert find(made) == downloaded


def test_download_with_wrong_digest_is_refused_and_not_kept(network, site):
    made, path, _ = network
    (site / made.file_name).write_bytes(path.read_bytes() + b"x")
    with pytest.raises(NotFound, match="damaged or replaced"):
        find(made)
    assert list(pretrained.cache_folder().iterdir()) == []


def test_missing_file_and_missing_site_are_one_error_each(network, site, monkeypatch):
    made, _, _ = network
    with pytest.raises(NotFound, match="404"):
        find(made)
    for address in ("http://127.0.0.1:9", "no address"):
        monkeypatch.setattr(pretrained, "DOWNLOAD_SITE", address)
        with pytest.raises(NotFound, match="cannot be fetched"):
            find(made)


def test_pth_and_safetensors_give_the_same_tensors(network, tmp_path):
    made, path, tensors = network
    save_file(tensors, tmp_path / "net.safetensors")
    for file in (path, tmp_path / "net.safetensors"):
        loaded = load(made, file)
        assert all(torch.equal(loaded[name], value) for name, value in tensors.items())


def test_tensors_of_another_network_are_refused(network, tmp_path):
    made, _, tensors = network
    save_file({name: value + 1e-3 for name, value in tensors.items()}, tmp_path / "other.safetensors")
    with pytest.raises(NtireSrError, match="tensors have another digest"):
        load(made, tmp_path / "other.safetensors")


class _Malicious:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a file was unpickled')",))


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickled_code_is_never_run(network, tmp_path, protocol):
    made, _, _ = network
    torch.save({"features.0.weight": _Malicious()}, tmp_path / "bad.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(_Malicious(), protocol))
    for name in ("bad.pth", "raw.pth"):
        with pytest.raises(NtireSrError, match="no readable weights file"):
            load(made, tmp_path / name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 64])
def test_damaged_weights_file_is_named(network, tmp_path, suffix, content):
    made, _, _ = network
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(NtireSrError, match="damaged"):
        load(made, path)


def test_known_digests_are_those_of_the_real_networks(alexnet, squeezenet):
    assert tensors_digest(load_file(alexnet)) == ALEXNET.tensors_sha256
    assert tensors_digest(load_file(squeezenet)) == pretrained.SQUEEZENET.tensors_sha256
    assert ALEXNET.hash_prefix == "7be5be79"
    assert sha256_file(alexnet) == ALEXNET.shipped_sha256


@pytest.mark.parametrize("network", [ALEXNET, pretrained.SQUEEZENET], ids=lambda network: network.name)
def test_shipped_network_is_used_unless_another_file_is_named(network, tmp_path, monkeypatch):
    kind, path = locate(network)
    assert kind == "package" and find(network) == path
    assert all(value.dtype == torch.float32 for value in load(network, path).values())
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(path.read_bytes())
    monkeypatch.setenv(network.variable, str(copy))
    assert locate(network) == (network.variable, copy)


def test_linear_layers_are_read_without_importing_lpips():
    assert [tuple(layer.shape) for layer in lpips_linear_layers()] == [
        (1, c, 1, 1) for c in (64, 192, 384, 256, 256)
    ]
    assert all((layer >= 0).all() for layer in lpips_linear_layers())
    code = (
        "import sys; from ntire_sr.core.pretrained import lpips_linear_layers as f; f(); "
        "assert not {'lpips', 'torchvision'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf",
        b"no status line\r\n\r\n",
        b"",
    ],
)
def test_broken_connection_counts_as_not_found(network, monkeypatch, answer):
    made, _, _ = network
    monkeypatch.delenv("NTIRE_SR_OFFLINE")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setattr(pretrained, "DOWNLOAD_SITE", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(NotFound):
            find(made)
        thread.join()
    assert not pretrained.cache_folder().exists() or list(pretrained.cache_folder().iterdir()) == []


def test_unwritable_cache_counts_as_not_found(network, site):
    made, path, _ = network
    (site / made.file_name).write_bytes(path.read_bytes())
    pretrained.cache_folder().parent.mkdir(parents=True)
    pretrained.cache_folder().write_text("a file in the place of the folder")
    with pytest.raises(NotFound, match="cannot be fetched"):
        find(made)
