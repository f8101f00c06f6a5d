"""Standard streams that are closed, or that refuse what is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "ntire_sr", "--help"]


@pytest.mark.skipif(os.name != "posix", reason="closes streams with a shell")
def test_command_works_with_closed_standard_streams():
    words = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *COMMAND]
    done = subprocess.run(words, check=False, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_standard_output_is_one_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run(COMMAND, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write the output: No space left on device\n")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_reader_that_leaves_ends_the_command_without_a_message():
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 1
