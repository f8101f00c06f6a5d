"""The device to compute on, its precision and its memory."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from ntire_sr.core.errors import NtireSrError, UsageError, require
from ntire_sr.core.variables import torchrun_number

Value = TypeVar("Value")


def choose_device(name: str) -> torch.device:
    """The torch device for the name `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU if there is one.

    Raises:
        UsageError: the name is another one, or torch does not see this GPU.
    """
    kind, _, number = name.partition(":")
    require(
        name in ("auto", "cpu", "cuda") or (kind == "cuda" and number.isdecimal()),
        f"unknown device {name!r}",
        "auto, cpu, cuda or cuda:N",
    )
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"--device {name}: this torch sees no CUDA GPU",
            "--device cpu; `ntire-sr doctor` shows what is there",
        )
    if number:
        require(
            int(number) < torch.cuda.device_count(),
            f"--device {name}: this GPU does not exist",
            "cuda:0, or auto",
        )
        return torch.device(name)
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # under torchrun each process of a machine has its own GPU
    return torch.device("cuda", torchrun_number("LOCAL_RANK", 0) % torch.cuda.device_count())


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """A context without autocast, TF32 and bfloat16, whatever the caller has set.

    torch has two sets of settings: those for all operations, and from version 2.9 on `fp32_precision` for each kind. It
    refuses to read the first after a caller has set the second to another value, so both are set here.
    """
    matmul = _unless_refused(torch.get_float32_matmul_precision)
    tf32 = _unless_refused(lambda: torch.backends.cudnn.allow_tf32)
    kinds = _kinds_of_operations()
    precisions = [kind.fp32_precision for kind in kinds]
    if matmul is not None:
        torch.set_float32_matmul_precision("highest")
    if tf32 is not None:
        torch.backends.cudnn.allow_tf32 = False
    for kind in kinds:
        kind.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if tf32 is not None:
            torch.backends.cudnn.allow_tf32 = tf32
        for kind, precision in zip(kinds, precisions, strict=True):
            kind.fp32_precision = precision


def _unless_refused(read: Callable[[], Value]) -> Value | None:
    """The value that `read` returns; None where torch refuses it, see `full_float32`."""
    try:
        return read()
    except RuntimeError:
        return None


def _kinds_of_operations() -> list[Any]:
    """The kinds of operations that torch has the setting `fp32_precision` for; none before version 2.9."""
    backends: Any = torch.backends
    if not hasattr(backends.mkldnn, "conv"):
        return []
    kinds = [backends.cuda.matmul, backends.mkldnn.matmul]
    return kinds + [
        kind for library in (backends.cudnn, backends.mkldnn) for kind in (library.conv, library.rnn)
    ]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 in hardware, as NVIDIA's GPUs do from Ampere on and many processors."""
    if device.type == "cpu":
        return processor_computes_bfloat16()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


BFLOAT16_VARIABLE = "NTIRE_SR_BFLOAT16"  # 1 or 0: what `processor_computes_bfloat16` answers, on any processor


def processor_computes_bfloat16() -> bool:
    """Whether the processor computes bfloat16 in hardware (AVX-512 BF16 or AMX), and so twice as fast as float32.

    The environment variable NTIRE_SR_BFLOAT16 decides instead of the hardware: 1 for yes, 0 for no.

    Raises:
        UsageError: the variable has another value.
    """
    if setting := os.environ.get(BFLOAT16_VARIABLE):
        require(setting in ("0", "1"), f"{BFLOAT16_VARIABLE} is {setting!r}", "1 for yes or 0 for no")
        return setting == "1"
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.10 and newer
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def choose_precision(choice: str, device: torch.device) -> str:
    """The precision that a choice names: float32 or bfloat16.

    `auto` is bfloat16 where the device computes it in hardware, else float32."""
    if choice != "auto":
        return choice
    return "bfloat16" if computes_bfloat16(device) else "float32"


def keep_freed_memory() -> bool:
    """Make the C library keep large freed blocks for later allocations, for the rest of this process.

    glibc returns each freed block of 32 MB and more to the system and fetches the next one anew, page by page:
    for feature maps of full-size images that takes as long as half of the convolutions.

    Returns:
        Whether the C library is glibc and took the setting.
    """
    library = _glibc()
    if library is None:
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # from malloc.h
    options = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 << 20))
    return all(library.mallopt(option, value) for option, value in options)


def return_freed_memory() -> bool:
    """Return the memory that is free by now to the system, once, also after `keep_freed_memory`.

    For use between two steps that need blocks of other sizes: the blocks of the second seldom fit into the gaps that the
    first left, so the process would grow by all that it needs.

    Returns:
        Whether the C library is glibc and had memory to return.
    """
    library = _glibc()
    return library is not None and bool(library.malloc_trim(0))


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        return library if library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError):  # another C library
        return None


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "could not create a primitive",  # oneDNN, where its scratch space finds no room
    "could not create a memory",
    "alloc_failed",  # cuDNN and cuBLAS
    "int_max elements",  # a kernel of CUDA that counts the elements of its maps in 32 bits
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, or that maps are too large for a GPU; on a CPU it is a RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def too_large(lr: torch.Tensor, device: torch.device, how: str = "") -> NtireSrError:
    """The error for an LR image (N, 3, h, w) whose samples do not fit into memory."""
    return NtireSrError(
        f"{lr.shape[3]} x {lr.shape[2]} pixels do not fit into the memory of {device}{how}",
        "--device cpu, a machine with more memory, or smaller LR images",
    )
