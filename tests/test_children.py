"""What a stop sends to all processes of the daemon reaches none that it started, not even while that begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from provisioner.children import FOR_THE_DAEMON, hearing_no_signals

PROGRAM = "import os, sys; print('ready', flush=True); sys.stdin.read(); print('done')"


@pytest.mark.parametrize("number", FOR_THE_DAEMON)
def test_a_child_hears_nothing_from_its_first_instruction_on(number: signal.Signals) -> None:
    pipe = subprocess.PIPE
    with hearing_no_signals():
        child = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, text=True)
    with child:
        os.kill(child.pid, number)
        assert child.communicate(timeout=30) == ("ready\ndone\n", None)
        assert child.returncode == 0


def test_the_daemon_itself_hears_them_again_also_where_two_were_started_at_once() -> None:
    with hearing_no_signals(), hearing_no_signals():
        assert set(FOR_THE_DAEMON) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not set(FOR_THE_DAEMON) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
