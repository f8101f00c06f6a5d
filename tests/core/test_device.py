"""Choosing a device, its precision and its memory; random generators on it."""

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ntire_sr.core.device import (
    BFLOAT16_VARIABLE,
    choose_device,
    choose_precision,
    computes_bfloat16,
    full_float32,
    is_out_of_memory,
    processor_computes_bfloat16,
)
from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import UsageError
from ntire_sr.core.seeding import global_seed, make_generator, normal

CPU = torch.device("cpu")


@pytest.fixture
def four_gpus(monkeypatch):
    """What torch says on a machine with four GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_chooses_a_gpu_if_there_is_one(four_gpus, monkeypatch):
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:3") == torch.device("cuda", 3)
    assert choose_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU


@pytest.mark.parametrize(("rank", "gpu"), [(0, 0), (3, 3), (5, 1)])
def test_each_local_process_gets_its_gpu(four_gpus, monkeypatch, rank, gpu):
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    assert choose_device("auto") == torch.device("cuda", gpu)
    assert choose_device("cuda:2") == torch.device("cuda", 2)


def test_missing_gpus_are_refused(four_gpus, monkeypatch):
    with pytest.raises(UsageError, match="cuda:4: this GPU does not exist"):
        choose_device("cuda:4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UsageError, match="this torch sees no CUDA GPU"):
            choose_device(name)


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_needs_hardware_support(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert computes_bfloat16(torch.device("cuda")) == supported


@pytest.mark.parametrize(("value", "automatic"), [("1", "bfloat16"), ("0", "float32")])
def test_auto_precision_on_processors_follows_their_bfloat16(monkeypatch, value, automatic):
    monkeypatch.setenv(BFLOAT16_VARIABLE, value)
    words = ("auto", "float32", "bfloat16")
    assert [choose_precision(word, CPU) for word in words] == [automatic, "float32", "bfloat16"]


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False), ({}, False)],
)
def test_processor_bfloat16_follows_the_capabilities(monkeypatch, capabilities, expected):
    monkeypatch.delenv(BFLOAT16_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert processor_computes_bfloat16() is expected


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False)])
def test_bfloat16_variable_overrides_the_capabilities(monkeypatch, value, expected):
    monkeypatch.setenv(BFLOAT16_VARIABLE, value)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": not expected}, raising=False)
    assert processor_computes_bfloat16() is expected


def test_other_values_of_the_bfloat16_variable_are_refused(monkeypatch):
    monkeypatch.setenv(BFLOAT16_VARIABLE, "yes")
    with pytest.raises(UsageError, match="NTIRE_SR_BFLOAT16 is 'yes'"):
        processor_computes_bfloat16()


def test_processor_bfloat16_is_false_where_torch_names_no_capabilities(monkeypatch):
    monkeypatch.delenv(BFLOAT16_VARIABLE, raising=False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not processor_computes_bfloat16()


def test_full_float32_disables_autocast_and_restores_precision(device):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    x = torch.rand(64, 64, generator=make_generator(0)).to(device)
    try:
        with torch.autocast(device.type, torch.bfloat16):
            with full_float32(device):
                assert torch.get_float32_matmul_precision() == "highest"
                assert not torch.backends.cudnn.allow_tf32
                product = x @ x
            assert (x @ x).dtype == torch.bfloat16
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    assert product.dtype == torch.float32
    assert torch.allclose(product.double(), x.double() @ x.double(), rtol=1e-5)


@pytest.fixture
def kinds():
    """What torch has the setting `fp32_precision` for, by library and kind of operation; restored after the test."""
    libraries = {"cuda": ("matmul",), "cudnn": ("conv", "rnn"), "mkldnn": ("conv", "matmul", "rnn")}
    if not hasattr(torch.backends.mkldnn, "conv"):
        pytest.skip("torch 2.9 and newer have this setting")
    kinds = {
        (library, kind): getattr(getattr(torch.backends, library), kind)
        for library, names in libraries.items()
        for kind in names
    }
    before = precisions(kinds)
    yield kinds
    for name, precision in before.items():
        kinds[name].fp32_precision = precision


def precisions(kinds) -> dict[tuple[str, str], str]:
    return {name: kind.fp32_precision for name, kind in kinds.items()}


@pytest.mark.parametrize(
    ("reduced", "libraries"), [("tf32", ("cuda", "cudnn")), ("tf32", ("mkldnn",)), ("bf16", ("mkldnn",))]
)
def test_full_float32_overrides_and_restores_fp32_precision(kinds, reduced, libraries):
    for (library, _), kind in kinds.items():
        if library in libraries:
            kind.fp32_precision = reduced
    before = precisions(kinds)
    for _ in range(2):
        with full_float32(CPU):
            assert set(precisions(kinds).values()) == {"ieee"}
        assert precisions(kinds) == before


def test_full_float32_leaves_unset_fp32_precision_unset(kinds):
    before = precisions(kinds)
    with full_float32(CPU):
        pass
    assert precisions(kinds) == before
    assert torch.get_float32_matmul_precision() == "highest"  # torch still allows to read the earlier setting


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 TiB"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("only supports output tensors with less than INT_MAX elements, but got [1, 64]"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_errors_are_recognised(error, expected):
    assert is_out_of_memory(error) == expected


def test_generators_are_on_their_device(device):
    assert make_generator(1, device=device).device == device
    assert make_generator(1).device == CPU
    rows = [
        normal([make_generator(n, device=device) for n in pair], 3, 5, device=device)
        for pair in ((1, 2), (2, 1))
    ]
    assert rows[0].device == device and torch.equal(rows[0], rows[1].flip(0))


def test_numbers_of_cpu_generators_are_equal_on_every_device(device):
    assert torch.equal(
        normal([make_generator(1)], 3, device=device).cpu(), normal([make_generator(1)], 3, device=CPU)
    )


def test_global_seed_restores_state_of_the_caller(device):
    def draw() -> tuple[float, float, float, float]:
        on_device = torch.rand(1, device=device).item()
        return random.random(), float(np.random.rand()), torch.rand(1).item(), on_device

    with global_seed(3, device):
        inside = draw()
    with global_seed(4, device):
        first = draw()
        with global_seed(3, device):
            assert draw() == inside
        second = draw()
    with global_seed(4, device):
        assert (draw(), draw()) == (first, second)


def test_global_seed_restores_the_generator_of_a_gpu(monkeypatch):
    forked = []
    fork = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: forked.append(devices) or fork([]))
    gpu = torch.device("cuda", 1)
    for device in (gpu, CPU):
        with global_seed(3, device):
            pass
    assert forked == [[gpu], []]


@pytest.mark.parametrize(("nccl", "backend"), [(True, "cpu:gloo,cuda:nccl"), (False, "gloo")])
def test_processes_with_gpus_use_nccl_and_gloo(four_gpus, monkeypatch, nccl, backend):
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    started = []
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: nccl)
    store = SimpleNamespace(set_timeout=lambda timeout: None)
    module = sys.modules["torch.distributed.rendezvous"]  # the attribute of this name is a function
    monkeypatch.setattr(module, "rendezvous", lambda *place, timeout: iter([(store, 1, 2)]))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda name, **more: started.append(name))
    assert ProcessGroup().rank == 1
    assert started == [backend]


def test_doctor_names_the_gpu(four_gpus, monkeypatch, no_gpu, ntire_sr_command):
    assert "none that torch can use" in ntire_sr_command("doctor").out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100")
    assert "NVIDIA A100" in ntire_sr_command("doctor").out
