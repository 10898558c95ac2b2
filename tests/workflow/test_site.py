"""The BMCs of machines as workflows ask them."""

from __future__ import annotations

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.bmc.ways import Ways
from provisioner.errors import ConflictError
from provisioner.workflow.site import SiteBoards
from tests.bmc.fake import ADDRESS, FakeBmc
from tests.bmc.test_rotation import NODE, Store


async def test_a_workflow_spares_the_accounts_that_the_daemon_goes_by() -> None:
    bmcs = Bmcs(quirks=(), make=lambda address, password: FakeBmc())
    boards = SiteBoards(bmcs, Ways(bmcs, Store(), lambda _: ()))
    with pytest.raises(ConflictError, match="the daemon's own account"):
        await boards.do(NODE, "accounts.password", {"name": ADDRESS.username, "password": "x"})
