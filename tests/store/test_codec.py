"""Documents of the store: what cannot be read is said, and threads that read at once do no harm."""

from __future__ import annotations

import subprocess
import sys

import pytest

from provisioner.errors import StoreError
from provisioner.model.machine import Machine, State
from provisioner.store.codec import Reader, encode


def test_what_was_written_is_read() -> None:
    machine = Machine("m1", "node17", State.READY, tags=("rack=r1",))
    assert Reader(Machine)(encode(machine)) == machine


@pytest.mark.parametrize(
    ("document", "said"),
    {
        "no document": (b"{", "a Machine in the store cannot be read: Input data was truncated"),
        "a field that does not fit": (b'{"id": 5}', r"a Machine .* Expected `str`, got `int` - at `\$.id`"),
    }.values(),
)
def test_what_cannot_be_read_is_said(document: bytes, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Reader(Machine)(document)


FIRST_READS = """
import os, sys, threading
from provisioner.boot.tickets import Fetch, Ticket
from provisioner.store.codec import encode
from provisioner.store.tickets import _ticket_in

given = Fetch("preseed", 1.0, "10.0.0.17")
document = encode(Ticket("d", "m", "r", (), "52:54:00:00:00:01", "10.0.0.17", "b", (), (), 1.0, 2.0, "s", (given,)))
sys.setswitchinterval(1e-6)

def read():
    together.wait()
    _ticket_in(document)

for _ in range(40):
    if (child := os.fork()) == 0:
        together = threading.Barrier(16)
        threads = [threading.Thread(target=read) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "a process that read in threads crashed"
"""


def test_threads_may_read_the_first_documents_of_a_kind_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_READS], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
