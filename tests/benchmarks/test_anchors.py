"""The comparisons of `make bench`, with tiny images."""

import re
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_bench_prints_ratios_with_instruction_set_and_precision(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("generate", "score", "train", "measuring"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import anchors

    commands = []
    monkeypatch.setattr(anchors, "print_memory", lambda *arguments: commands.append(arguments))
    words = "--width 64 --height 64 --samples 2 --batch 1 --patch 32 --steps 1 --rounds 1"
    threads = torch.get_num_threads()
    anchors.main([*words.split(), "--threads", str(threads)])
    printed = capsys.readouterr().out
    assert len(re.findall(r"plain / ours \d+\.\d\d \(", printed)) == 3
    assert printed.count(torch.backends.cpu.get_cpu_capability()) == 3
    assert len(re.findall(r"ours +\d+\.\d{3} s per (?:sample|step), (?:float32|bfloat16)", printed)) == 3
    assert len(commands) == 1  # the whole command of score
