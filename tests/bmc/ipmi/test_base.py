"""What the worker says of a request that got no answer, as errors."""

from __future__ import annotations

import pytest

from provisioner.bmc.ipmi.base import IpmiBoard
from provisioner.bmc.ipmi.link import DIED, WorkerLink
from provisioner.bmc.ipmi.messages import Failed, Trouble
from provisioner.errors import BmcError, BmcProtocolError, BmcTimeout, BmcUnreachable
from provisioner.model.bmc import BmcAddress, Driver

DONE = "sent once, and no answer came: it may have been done"
FAILURES: dict[str, tuple[Failed, bool, type[BmcError], str]] = {
    # what the worker says, whether it may be sent again, and the error
    "a press, and silence": (Failed(1, Trouble.UNREACHABLE, "no answer", sent=True), False, BmcTimeout, DONE),
    "a press, and no time left": (Failed(1, Trouble.TIMEOUT, "no answer in time", sent=True), False, BmcTimeout, DONE),
    "a press, and the worker's end": (Failed(1, Trouble.CLOSED, DIED, sent=True), False, BmcTimeout, DONE),
    "a press that was not sent": (Failed(1, Trouble.UNREACHABLE, "no answer"), False, BmcUnreachable, "no answer"),
    "a press whose turn did not come": (Failed(1, Trouble.TIMEOUT, "not sent"), False, BmcUnreachable, "not sent"),
    "a press, and nonsense": (Failed(1, Trouble.PROTOCOL, "nonsense", sent=True), False, BmcProtocolError, "nonsense"),
    "a read, and silence": (Failed(1, Trouble.UNREACHABLE, "no answer", sent=True), True, BmcUnreachable, "no answer"),
    "a read, and the worker's end": (Failed(1, Trouble.CLOSED, DIED, sent=True), True, BmcUnreachable, DIED),
}


@pytest.mark.parametrize(("failed", "repeat", "kind", "said"), FAILURES.values(), ids=FAILURES.keys())
def test_failure(failed: Failed, repeat: bool, kind: type[BmcError], said: str) -> None:
    board = IpmiBoard(BmcAddress(Driver.IPMI, "192.0.2.1", 623, "admin"), "p", WorkerLink())
    error = board.failure("ipmi://192.0.2.1: power.cycle", failed, repeat=repeat)
    assert type(error) is kind
    assert error.message == f"ipmi://192.0.2.1: power.cycle: {said}"
