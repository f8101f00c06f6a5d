"""Training on every device, and what is special to GPUs, as far as a CPU can stand in for one."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import TINIEST
from safetensors.torch import load_file

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import UsageError
from ntire_sr.core.progress import SILENT
from ntire_sr.core.run_folder import RunFolder
from ntire_sr.core.seeding import make_generator
from ntire_sr.training import loop, setup
from ntire_sr.training.loop import train
from ntire_sr.training.run_config import make_run_config, resume_run_config
from ntire_sr.training.stopping import StopRule

GPU = torch.device("cuda", 0)
STOCHASTIC = {
    **{name: value for name, value in TINIEST.items() if name != "blocks"},
    "model": "stochastic", "growth": 4, "blocks": 1, "fine_channels": 4, "latent_channels": 2,
    "steps": 4, "validation": "auto",
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_validates_and_resumes_on_every_device(device, precision, tmp_path, small_validation):
    run = RunFolder(tmp_path)
    values = {**STOCHASTIC, "device": device.type, "precision": precision, "max_minutes": 1e-9}
    assert train(make_run_config(values), run).steps_done == 1
    assert train(resume_run_config(run, {"max_minutes": 0}), run, resume=True).steps_done == 4
    assert all(torch.isfinite(value).all() for value in load_file(run.weights).values())
    lines = [json.loads(line) for line in run.log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4] and "val_r_pixels" in lines[-1]
    assert len(list(run.previews.iterdir())) == 1


def open_run(tmp_path, **values):
    return setup.set_up(
        make_run_config({**TINIEST, **values}), RunFolder(tmp_path), False, ProcessGroup(), SILENT
    )


def test_gpu_gets_pinned_batches_and_cuda_generators(tmp_path, monkeypatch):
    made, state = open_run(tmp_path)
    pinned, generators, finished = [], [], []

    class Crops:
        """The real crops, which note what the loop asks for."""

        def prepare(self, *arguments):
            pinned.append(arguments[-1])
            return made.patches.prepare(*arguments[:-1])

        def finish(self, prepared, device):
            finished.append(device)
            return made.patches.finish(prepared, torch.device("cpu"))

        digest = made.patches.digest

    def noted(*numbers, device):
        generators.append(device)
        return make_generator(*numbers)

    monkeypatch.setattr(loop, "make_generator", noted)
    loop._loop(replace(made, device=GPU, patches=Crops()), state, StopRule(0, ProcessGroup()), None)
    assert state.step == 2 and pinned == [True, True]
    assert finished == [GPU, GPU] and generators == [GPU] * 4


@pytest.mark.parametrize(("keep", "kept"), [(True, True), (False, False)])
def test_keep_on_device_keeps_images_on_a_gpu(tmp_path, monkeypatch, keep, kept):
    asked, messages = [], []
    monkeypatch.setattr(setup, "choose_device", lambda name: GPU)
    monkeypatch.setattr(setup.PatchDataset, "keep_on", lambda self, device: asked.append(device) or True)
    run_config = make_run_config({**TINIEST, "keep_on_device": keep})
    trainer = run_config.trainer.trainer
    on_cpu = replace(
        run_config.trainer,
        trainer=lambda config, settings, device, *more: trainer(config, settings, torch.device("cpu"), *more),
    )
    run_config = replace(run_config, trainer=on_cpu)

    class Progress:
        task = SILENT.task
        message = messages.append

    setup.set_up(run_config, RunFolder(tmp_path), False, ProcessGroup(), Progress())
    assert asked == ([GPU] if kept else [])
    assert any(text.endswith(", and on the GPU") for text in messages) == kept


def test_more_processes_than_gpus_on_a_machine_are_refused(monkeypatch):
    config = make_run_config({**TINIEST, "batch": 4}).config
    processes, chosen = ProcessGroup(), []
    processes.world_size = 4
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="4 processes cannot share 2 GPUs in training") as caught:
        setup._check_processes(config, GPU, processes)
    assert caught.value.remedy == "--nproc-per-node 2" and not chosen
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # two machines
    setup._check_processes(config, GPU, processes)
    assert chosen == [GPU]
    setup._check_processes(config, torch.device("cpu"), processes)
    assert chosen == [GPU]
