"""The signals that end a training with a checkpoint."""

import os
import signal

import pytest

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.training.stopping import SIGNALS, StopRule

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


@pytest.fixture(autouse=True)
def default_handlers():
    """The handlers that Python starts with: under nohup, or in a shell's background, some signals are ignored."""
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in SIGNALS)}
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", SIGNALS)
def test_signal_is_the_reason_to_stop_and_its_handler_is_restored(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with StopRule(0, ProcessGroup()) as stop:
        assert stop.reason() is None
        os.kill(os.getpid(), number)
        assert stop.reason() == name
    assert signal.getsignal(number) == before


def test_later_signals_do_not_interrupt_but_ctrl_c_does():
    with StopRule(0, ProcessGroup()) as stop:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert stop.reason() == "SIGUSR1"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRule(0, ProcessGroup()) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)
