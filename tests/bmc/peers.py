"""BMCs that others wrote, started on free loopback ports: OpenIPMI's ipmi_sim and sushy-tools' emulator."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port

START_S = 100.0
"""The emulator imports for a second of processor time, of which a test beside others has a quarter."""

LAN = """\
name "vm0"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{chassis} 0x20"
  startnow false
  user 1 true  ""        "test" user     10       none md2 md5 straight
  user 2 true  "ipmiusr" "test" admin    10       none md2 md5 straight
"""

BOARD = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""

CHASSIS = """\
#!/bin/sh
# A machine of files: answers "get power boot", takes "set power 1" and "set boot pxe"; writes down all of it.
cd {state} && echo "$*" >> chassis.log; shift; verb=$1; shift
if [ "$verb" = get ]; then
    for what in "$@"; do
        case $what in
            power) echo "power:$(cat power 2>/dev/null || echo 0)" ;;
            boot) echo "boot:$(cat boot 2>/dev/null || echo default)" ;;
            *) echo "$what:0" ;;
        esac
    done
else
    while [ $# -gt 1 ]; do case $1 in power | boot) echo "$2" > "$1" ;; esac; shift 2; done
fi
"""


@contextlib.asynccontextmanager
async def ipmi_sim(root: Path) -> AsyncIterator[int]:
    """Run ipmi_sim with its state in `root`; yield its UDP port. The user is ipmiusr, the password test."""
    port = free_port(socket.SOCK_DGRAM)
    chassis = root / "chassis"
    chassis.write_text(CHASSIS.format(state=root))
    chassis.chmod(0o755)
    (root / "lan.conf").write_text(LAN.format(port=port, chassis=chassis))
    (root / "board.emu").write_text(BOARD)
    command = "ipmi_sim", "-c", "lan.conf", "-f", "board.emu", "-s", str(root / "state"), "-n"
    (root / "state").mkdir()
    process = await asyncio.create_subprocess_exec(
        *command, cwd=root, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: ping(port), f"ipmi_sim answers on UDP {port}")
        yield port
    finally:
        await end(process)


def ping(port: int) -> bool:
    """Ask for an ASF pong, as `rmcpping` does: the one question that needs no session."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        probe.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            # Get Channel Authentication Capabilities, sessionless
            probe.send(bytes.fromhex("0600ff07 00 00000000 00000000 09 2018c88100388e04b5"))
            return bool(probe.recv(512))
    return False


@contextlib.asynccontextmanager
async def sushy_emulator(root: Path) -> AsyncIterator[int]:
    """Run sushy-tools' emulator with one made-up machine, TLS and a user admin/secret; yield its port."""
    import bcrypt  # what the emulator reads its users with

    port = free_port()
    certificate, key = write_certificate(root)
    (root / "users").write_text(f"admin:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    settings = {
        "SUSHY_EMULATOR_LISTEN_IP": "127.0.0.1",
        "SUSHY_EMULATOR_LISTEN_PORT": port,
        "SUSHY_EMULATOR_SSL_CERT": str(certificate),
        "SUSHY_EMULATOR_SSL_KEY": str(key),
        "SUSHY_EMULATOR_AUTH_FILE": str(root / "users"),
        "SUSHY_EMULATOR_STATE_DIR": str(root),
        "SUSHY_EMULATOR_FAKE_DRIVER": True,
        "SUSHY_EMULATOR_FAKE_SYSTEMS": [
            {
                "uuid": "da69abcc-dae0-4913-9a7b-d344043097c0",
                "name": "fake1",
                "power_state": "Off",
                "external_notifier": False,
                "nics": [{"mac": "52:54:00:00:00:01", "ip": "192.0.2.9"}],
            }
        ],
    }
    (root / "emulator.conf").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    with (root / "emulator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("sushy-emulator"), "--config", "emulator.conf", cwd=root,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await until(lambda: listens(port), f"sushy-emulator listens on {port}")
        yield port
    finally:
        await end(process)


def write_certificate(root: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1; return its file and its key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (root / "bmc.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (root / "bmc.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return root / "bmc.pem", root / "bmc.key"


def listens(port: int) -> bool:
    """Say whether a TCP connection is taken."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
        return True
    return False


async def until(ready: Callable[[], bool], what: str) -> None:
    """Wait until a question is answered with yes."""
    try:
        async with asyncio.timeout(START_S):
            while not await asyncio.to_thread(_ask_after_a_moment, ready):
                pass
    except TimeoutError:
        raise AssertionError(f"not within {START_S} s: {what}") from None


def _ask_after_a_moment(ready: Callable[[], bool]) -> bool:
    threading.Event().wait(0.05)
    return ready()


async def end(process: asyncio.subprocess.Process) -> None:
    """Ask a program of ours to end, and see to it."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
