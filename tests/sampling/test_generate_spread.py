"""Drawing samples by several processes, in processes that are killed, and in tiles as the command does it."""

import json
import os
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import Forked, run_group, start_command
from waiting import wait_until

from ntire_sr.core.device import keep_freed_memory, return_freed_memory
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.files import sha256_file
from ntire_sr.models.interfaces import TILE_PX
from ntire_sr.models.loading import load_model
from ntire_sr.samples.image_files import read_image, write_png
from ntire_sr.samples.manifest import RECORDS, load_manifest
from ntire_sr.sampling import sampler as drawing
from ntire_sr.sampling.generate import Request, generate, parse_tile, resolve_precision, resolve_tile

CPU = torch.device("cpu")


@pytest.fixture
def srgan(trained):
    return load_model(trained / "weights.safetensors", None, CPU)


def words(lr: Path, trained: Path, out: Path, samples: int) -> list[str]:
    given = ["--lr", lr, "--weights", trained / "weights.safetensors", "--out", out, "--samples", samples]
    return ["generate", *map(str, given)]


def files(folder: Path) -> dict[str, str]:
    """Every name below the folder, hidden ones too, with a digest; of the manifest all but times."""
    contents = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "manifest.json":
            content = json.loads(path.read_text())
            for record in content["files"].values():
                del record["seconds"]
            del content["lr"]
            contents[path.name] = json.dumps(content, sort_keys=True)
        else:
            contents[str(path.relative_to(folder))] = sha256_file(path) if path.is_file() else "folder"
    return contents


def test_two_processes_draw_the_same_files_as_one(
    lr_folder, trained, tmp_path, ntire_sr_command, in_one_thread, monkeypatch
):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert ntire_sr_command(*words(lr_folder, trained, alone, 3)).code == 0
    first, second = run_group(*[words(lr_folder, trained, shared, 3)] * 2)
    assert first.code == second.code == 0, first.err + second.err
    assert "3 samples written, 0 kept by process 1 of 2" in first.out
    assert "3 samples written, 0 kept by process 2 of 2" in second.out
    assert files(shared) == files(alone)
    for number in (0, 1):  # each refuses it before it does anything; torchrun would only start them
        be_process(number, monkeypatch)
        refused = ntire_sr_command(*words(lr_folder, trained, shared, 3), "--overwrite")
        assert refused.code != 0 and "--overwrite by several processes" in refused.err
    assert files(shared) == files(alone)


def be_process(number: int, monkeypatch) -> None:
    """From now on this process is one of two that torchrun started."""
    for name, value in (("RANK", str(number)), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)


def test_infeasible_image_of_one_process_does_not_stop_the_other(
    lr_folder, trained, tmp_path, photograph, ntire_sr_command, monkeypatch
):
    checkerboard = np.indices((24, 32)).sum(0) % 2 * 255
    write_png(lr_folder / "0800.png", np.repeat(checkerboard[..., None], 3, 2).astype(np.uint8))
    for number in range(803, 807):
        write_png(lr_folder / f"{number:04d}.png", np.ascontiguousarray(photograph[number - 803 :][:24, :32]))
    out, said = tmp_path / "SR", []
    for number in (0, 1):  # process 0 has the checkerboard and goes first
        be_process(number, monkeypatch)
        said.append(ntire_sr_command(*words(lr_folder, trained, out, 2)))
    assert said[0].code == 0, said[0].err
    assert said[1].code == 1 and "0800.png: no 8-bit image downscales to it" in said[1].err
    assert len(list(out.glob("*.png"))) == 2 * 6


def test_a_process_that_dies_is_replaced_by_calling_again(
    lr_folder, trained, tmp_path, srgan, monkeypatch, in_one_thread
):
    torch.set_num_threads(2)  # the tests' one would show nothing
    straight, shared = tmp_path / "straight", tmp_path / "shared"
    generate(Request(lr_folder, straight, samples=2), srgan, CPU)
    monkeypatch.setenv("MASTER_ADDR", "here")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")  # the other one never began
    drawn = generate(Request(lr_folder, shared, samples=2), srgan, CPU)
    assert (drawn.written, drawn.complete) == (2, False)
    assert (shared / RECORDS / "000001.json").is_file()
    assert load_manifest(shared).files.keys() == {f"000001_sample0000{k}.png" for k in range(2)}
    monkeypatch.delenv("MASTER_ADDR")
    drawn = generate(Request(lr_folder, shared, samples=2), srgan, CPU)
    assert (drawn.written, drawn.kept, drawn.complete) == (2, 2, True)
    assert torch.get_num_threads() == 2
    assert files(shared) == files(straight)


def campaign(lr_folder: Path, trained: Path, tmp_path: Path, ntire_sr_command, kills: int, seed: int) -> int:
    """Draw to the end through kills at random moments; how many struck a process at work."""
    chance = random.Random(seed)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert ntire_sr_command(*words(lr_folder, trained, straight, 100)).code == 0
    command = words(lr_folder, trained, killed, 100)
    struck = 0
    for number in range(kills):
        before = len(list(killed.glob("*.png")))
        process = start_command(*command)
        if number % 4:
            wait_until(lambda before=before: len(list(killed.glob("*.png"))) > before, process)
        time.sleep(chance.uniform(0, 0.05) if number % 4 else chance.uniform(0, 1))
        at_work = process.poll() is None
        result = process.kill()
        assert at_work or result.code == 0, result.err
        struck += at_work
        for path in killed.glob("*.png"):
            # whole under its name, always
            assert read_image(path).shape == ((96, 128, 3) if path.name.startswith("000000") else (64, 80, 3))
        if not at_work:  # it was faster than the kill: draw once more, so that the rest strikes something
            shutil.rmtree(killed)
    done = start_command(*command).wait()
    assert done.code == 0, done.err
    assert files(killed) == files(straight)
    return struck


def test_random_kills_leave_the_files_of_an_undisturbed_call(
    lr_folder, trained, tmp_path, ntire_sr_command, in_one_thread
):
    assert campaign(lr_folder, trained, tmp_path, ntire_sr_command, 4, 1) >= 2


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(4))
def test_many_random_kills_leave_the_files_of_an_undisturbed_call(
    lr_folder, trained, tmp_path, ntire_sr_command, in_one_thread, seed
):
    assert campaign(lr_folder, trained, tmp_path, ntire_sr_command, 12, 100 + seed) >= 6


def test_tiles_change_samples_by_at_most_one_grey_level(lr_folder, srgan, tmp_path):
    whole, tiled = tmp_path / "whole", tmp_path / "tiled"
    generate(Request(lr_folder, whole, samples=2, tile=0), srgan, CPU)
    generate(Request(lr_folder, tiled, samples=1, tile=9), srgan, CPU)
    generate(Request(lr_folder, tiled, samples=2), srgan, CPU)  # auto: the folder's
    manifest = load_manifest(tiled)
    assert manifest.tile == 9 and {record.tile for record in manifest.files.values()} == {9}
    for path in whole.glob("*.png"):
        whole_image, in_tiles = (read_image(folder / path.name).astype(np.int32) for folder in (whole, tiled))
        assert np.abs(whole_image - in_tiles).max() <= 1
    with pytest.raises(UsageError, match="tile: 9 there, 0 asked for"):
        generate(Request(lr_folder, tiled, samples=2, tile=0), srgan, CPU)


def test_tiles_shrink_when_memory_runs_out_and_are_recorded(lr_folder, srgan, tmp_path, monkeypatch):
    real = srgan.generator.sample

    failures = 2

    def small_memory(trunk, lr, latents):
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return real(trunk, lr, latents)

    monkeypatch.setattr(srgan.generator, "sample", small_memory)
    monkeypatch.setattr(drawing, "SMALLEST_TILE_PX", 4)
    generate(Request(lr_folder, tmp_path / "SR", samples=1, tile=0), srgan, CPU)
    manifest = load_manifest(tmp_path / "SR")
    assert manifest.tile == 8 and {record.tile for record in manifest.files.values()} == {8}
    for tile in (0, 8, None):  # the same command goes on, and so does one that knows
        again = generate(Request(lr_folder, tmp_path / "SR", samples=1, tile=tile), srgan, CPU)
        assert again.kept == 2 and again.manifest.tile == 8
    monkeypatch.setattr(drawing, "SMALLEST_TILE_PX", 16)
    failures = 1000
    with pytest.raises(
        NtireSrError, match=r"32 x 24 pixels do not fit into the memory of cpu, even in tiles of 16"
    ):
        generate(Request(lr_folder, tmp_path / "other", samples=1, tile=0), srgan, CPU)

    def broken(trunk, lr, latents):
        raise RuntimeError("CUDA error: an illegal memory access, something else")

    monkeypatch.setattr(srgan.generator, "sample", broken)
    with pytest.raises(RuntimeError, match="something else"):
        generate(Request(lr_folder, tmp_path / "third", samples=1), srgan, CPU)


def test_trunk_out_of_memory_is_retried_with_tiles(srgan, monkeypatch):
    sizes = []

    def small_memory(lr):
        sizes.append(tuple(lr.shape[2:]))
        if max(lr.shape[2:]) > 40:
            raise RuntimeError("could not create a primitive")
        return lr

    monkeypatch.setattr(srgan.generator, "trunk", small_memory)
    monkeypatch.setattr(srgan.generator, "trunk_receptive_field", 2)
    monkeypatch.setattr(drawing, "SMALLEST_TILE_PX", 4)
    sampler = drawing.Sampler(srgan, CPU, half=False, tile=0)
    assert sampler.trunk(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    assert sizes == [(64, 64), *[(34, 34)] * 4] and sampler.tile == 8


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("place", [CPU, torch.device("cuda", 0)])
def test_tiles_are_halved_and_a_gpus_cache_is_emptied_until_they_fit(srgan, monkeypatch, place, error):
    real, emptied, sizes = srgan.generator.sample, [], []

    def small_memory(trunk, lr, latents):
        sizes.append(max(lr.shape[2:]))
        if sizes[-1] > limit:
            raise error
        return real(trunk, lr, latents)

    lr = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    trunk, limit = srgan.generator.trunk(lr), 64
    expected = drawing.Sampler(srgan, CPU, half=False, tile=0).sample(lr, trunk, 1)
    monkeypatch.setattr(srgan.generator, "sample", small_memory)
    monkeypatch.setattr(drawing, "SMALLEST_TILE_PX", 4)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(sizes[-1]))
    limit = 16 + 2 * srgan.generator.sample_receptive_field
    sampler = drawing.Sampler(srgan, place, half=False, tile=0)  # the tensors stay on the CPU
    sr = sampler.sample(lr, trunk, 1)
    assert sampler.tile == 16 and sizes[0] == 64
    assert len(emptied) == (2 if place.type == "cuda" else 0)
    assert (sr - expected).abs().max() < 1 / 255


def test_defaults_of_tile_and_precision_are_those_of_the_device(srgan, monkeypatch):
    gpu, words = torch.device("cuda", 0), ("auto", "float32", "bfloat16")
    assert (resolve_tile(None, srgan, CPU), resolve_tile(None, srgan, gpu)) == (TILE_PX, 0)
    assert resolve_tile(32, srgan, CPU) == resolve_tile(32, srgan, gpu) == 32
    for supported, automatic in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported, **_: supported)
        assert [resolve_precision(word, srgan, gpu) for word in words] == [automatic, "float32", "bfloat16"]


def test_projection_out_of_memory_is_reported(lr_folder, srgan, tmp_path, monkeypatch):
    from ntire_sr.sampling import write_samples as module

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(module, "project_uint8", no_memory)
    with pytest.raises(
        NtireSrError, match="32 x 24 pixels do not fit into the memory of cpu with their projection"
    ):
        generate(Request(lr_folder, tmp_path / "SR", samples=1), srgan, CPU)


def print_page_faults(keep: bool) -> None:
    """Print how many pages are fetched for 20 blocks of 64 MiB that are allocated and freed in turn."""
    import resource

    if keep:
        keep_freed_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(64 << 20, dtype=torch.uint8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of Linux's C library")
def test_freed_large_blocks_are_reused():
    faults = [int(Forked(print_page_faults, keep).wait().out) for keep in (False, True)]
    assert faults[1] < faults[0] / 2


def print_resident_memory() -> None:
    """Print the MiB of this process with a free block of 64 MiB below one that is in use, and after returning it."""

    def resident_mib() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    keep_freed_memory()
    blocks = [torch.ones(64 << 20, dtype=torch.uint8) for _ in range(2)]
    del blocks[0]
    before = resident_mib()
    assert return_freed_memory()
    print(before, resident_mib())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a matter of Linux's C library")
def test_freed_blocks_can_be_returned_to_the_system():
    before, after = map(float, Forked(print_resident_memory).wait().out.split())
    assert after < before - 48


def test_a_tile_is_auto_or_a_number():
    assert [parse_tile(word) for word in ("auto", "0", "96")] == [None, 0, 96]
    for word in ("-1", "x", "1.5", "9999999999"):
        with pytest.raises(UsageError, match="--tile"):
            parse_tile(word)


def test_damaged_and_foreign_records_are_ignored(lr_folder, srgan, tmp_path):
    out = tmp_path / "SR"
    generate(Request(lr_folder, out, samples=2), srgan, CPU)
    manifest = load_manifest(out)
    before = files(out)
    (out / "000000_sample00001.png").unlink()
    records = {
        "000000.json": "{", "000001.json": "[]", "000007.json": "{}", "x.json": "3",
        "000002.json": json.dumps({"image": 1, "files": {}}),
    }  # fmt: skip
    for name, text in records.items():
        (out / RECORDS).mkdir(exist_ok=True)
        (out / RECORDS / name).write_text(text)
    assert load_manifest(out) == manifest
    assert generate(Request(lr_folder, out, samples=2), srgan, CPU).written == 1
    assert files(out) == before
