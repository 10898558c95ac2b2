"""A simulated board's SSH as Debian's own client sees it, and a console by a server that others wrote."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from provisioner.bmc.hostkeys import HostKeys
from provisioner.bmc.redfish.ssh import Login, open_ssh
from provisioner.errors import BmcAuthError
from tests.bmc.ipmi.test_console import read_until
from tests.bmc.peers import end, listens, until
from tests.bmc.simulated import PASSWORD, SSH_PORT, host, simulated
from tests.ports import free_port

pytestmark = pytest.mark.peer

NUMBER = 120
OPTIONS = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "PubkeyAuthentication": "no"}


async def test_openssh_shows_the_console_and_types(tmp_path: Path) -> None:
    told = tmp_path / "password"
    told.write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
    told.chmod(0o700)
    environment = os.environ | {"SSH_ASKPASS": str(told), "SSH_ASKPASS_REQUIRE": "force"}
    options = [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
    async with simulated(1, tmp_path, first=NUMBER, ssh=True) as (board,):
        typed = bytearray()
        board.machine.console.type = typed.extend  # type: ignore[method-assign]
        client = await asyncio.create_subprocess_exec(
            "ssh", "-tt", "-F", "/dev/null", *options, "-p", str(SSH_PORT), f"admin@{host(NUMBER)}", env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"root\r")
        async with asyncio.timeout(20):
            while bytes(typed) != b"root\r":
                await asyncio.sleep(0)
        board.machine.console.feed(b"Debian GNU/Linux 12\r\n")
        async with asyncio.timeout(20):
            assert await client.stdout.readuntil(b"12\r\n") == b"Debian GNU/Linux 12\r\n"
        client.stdin.write(b"\r~.")
        async with asyncio.timeout(20):
            await client.wait()


SERVER = """
printf 'operator:x:1000:1000::/:/bin/sh\\nroot:x:0:0::/:/bin/sh\\n' > {root}/passwd
printf 'operator:%s:1:0:99999:7:::\\nroot:*:1:0:99999:7:::\\n' "$(openssl passwd -6 -stdin)" > {root}/shadow
printf '/bin/sh\\n' > {root}/shells
for name in passwd shadow shells; do mount --bind {root}/$name /etc/$name || exit 1; done
exec dropbear -F -E -r {root}/key -p 127.0.0.1:{port} -P {root}/pid -c 'echo SeaBIOS; read line; echo "<$line>"; cat'
"""
"""The server of OpenBMC's boards, with a user of this test's own: nothing of it is seen outside its mount namespace."""


@pytest.mark.netns
async def test_a_console_by_dropbear(tmp_path: Path) -> None:
    port = free_port()
    await asyncio.to_thread(
        subprocess.run,
        ["dropbearkey", "-t", "rsa", "-s", "2048", "-f", str(tmp_path / "key")],
        check=True,
        capture_output=True,
    )
    script = SERVER.format(root=tmp_path, port=port)
    with (tmp_path / "log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            "unshare", "-m", "sh", "-c", script, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    assert server.stdin is not None
    server.stdin.write(PASSWORD.encode() + b"\n")
    server.stdin.close()
    try:
        await until(lambda: listens(port), f"dropbear listens on {port}")
        login, keys = Login("127.0.0.1", port, "operator", PASSWORD), HostKeys()
        console = await open_ssh("board", login, keys)
        output = console.output()
        await read_until(output, b"SeaBIOS")
        await console.type(b"root\r")
        await read_until(output, b"<root>")
        await console.close()
        assert keys.pinned("127.0.0.1", port).startswith("SHA256:")
        with pytest.raises(BmcAuthError, match="refused"):
            await open_ssh("board", Login("127.0.0.1", port, "operator", "wrong"), keys)
    finally:
        await end(server)
