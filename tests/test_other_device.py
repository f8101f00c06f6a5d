"""No tensor is left on the CPU where everything else is on another device; see `other_device.py`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

PROGRAM = Path(__file__).with_name("other_device.py")
MUST_FAIL = {
    "add a constant of the CPU": "Expected all tensors to be on the same device",
    "make an array": "to numpy",
}


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="needs a device written in Python, which this version of torch does not offer",
)
def test_no_part_mixes_tensors_of_two_devices():
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    for name, message in MUST_FAIL.items():
        assert message in errors.pop(name)
    assert len(errors) >= 15
    assert not any(errors.values()), "\n".join(f"{name}:\n{error}" for name, error in errors.items() if error)
