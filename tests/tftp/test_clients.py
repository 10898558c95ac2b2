"""TFTP clients that others wrote, over good and bad links: what they fetch is what we serve."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tftp import links
from tests.tftp.links import SERVER, Faults

pytestmark = [pytest.mark.netns, pytest.mark.peer]

SIZE = 300_007
CURL_NOT_FOUND = 68
Command = Callable[[str, Path], list[str]]


def hpa(name: str, out: Path) -> list[str]:
    return ["tftp", "-m", "binary", SERVER, "-c", "get", name, str(out)]


def curl(name: str, out: Path) -> list[str]:
    return ["curl", "--silent", "--show-error", "--tftp-blksize", "1468", "-o", str(out), f"tftp://{SERVER}/{name}"]


def curl_plain(name: str, out: Path) -> list[str]:
    return ["curl", "--silent", "--show-error", "--tftp-no-options", "-o", str(out), f"tftp://{SERVER}/{name}"]


def busybox(name: str, out: Path) -> list[str]:
    return ["busybox", "tftp", "-g", "-b", "1468", "-r", name, "-l", str(out), SERVER]


def tftpy(name: str, out: Path) -> list[str]:
    fetch = f"import tftpy; tftpy.TftpClient({SERVER!r}, 69, dict(blksize=1400)).download({name!r}, {str(out)!r})"
    return [sys.executable, "-c", fetch]


def atftp(*options: str) -> Command:
    def command(name: str, out: Path) -> list[str]:
        given = [word for option in options for word in ("--option", option)]
        return ["atftp", *given, "-g", "-r", name, "-l", str(out), SERVER]

    return command


CLIENTS: dict[str, Command] = {
    "tftp-hpa": hpa,
    "curl": curl,
    "curl without options": curl_plain,
    "busybox": busybox,
}
SENSITIVE: dict[str, Command] = {
    # end with "unexpected OACK" at a second one, whoever the server is and whatever repeated it
    "tftpy": tftpy,
    "atftp": atftp("blksize 1468"),
    "atftp with windows": atftp("blksize 1468", "windowsize 16"),
}
FAULTS = {
    "a perfect link": (0.0, 0.0, 0.0),
    "1 % lost, 1 % twice, 1 % late": (0.01, 0.01, 0.01),
    "5 % lost, 5 % twice, 5 % late": (0.05, 0.05, 0.05),
    "everything twice": (0.0, 1.0, 0.0),
}
LINKS: dict[str, Faults] = {name: (*faults, 0) for name, faults in FAULTS.items()}
SPARING: dict[str, Faults] = {f"{name}, but in the handshake": (*faults, 1) for name, faults in FAULTS.items()}


@dataclass(frozen=True)
class Link:
    """Where clients run, and what is served to them."""

    client: str
    root: Path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served."""
    root = tmp_path_factory.mktemp("root")
    content = random.Random(1).randbytes(SIZE)
    (root / "kernel").write_bytes(content)
    (root / "exact").write_bytes(content[: 1468 * 20])
    (root / "empty").write_bytes(b"")
    return root


Lay = Callable[[Faults], Link]


@pytest.fixture(scope="module")
def lay(root: Path) -> Iterator[Lay]:
    """Lay links as they are asked for, each with a server at its end; those with equal faults are one."""
    laid: dict[Faults, Link] = {}
    with ExitStack() as stack:

        def link(faults: Faults) -> Link:
            if faults not in laid:
                _, client, _ = links.lay(stack, faults, root)
                laid[faults] = Link(client, root)
            return laid[faults]

        yield link


def fetched(link: Link, command: list[str], out: Path) -> bytes:
    """Run a client; show what it said when it fails."""
    run = ["ip", "netns", "exec", link.client, *command]
    done = subprocess.run(run, cwd=out.parent, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return out.read_bytes()


PAIRS = {
    f"{client} over {link}": (faults, command)
    for links, clients in ((LINKS, CLIENTS), (SPARING, SENSITIVE))
    for link, faults in links.items()
    for client, command in clients.items()
}
GOOD = {name: pair for name, pair in PAIRS.items() if pair[0][:3] == (0.0, 0.0, 0.0)}
HARMLESS = {name: pair for name, pair in PAIRS.items() if pair[0][0] == 0.0}


@pytest.mark.slow
@pytest.mark.parametrize(("faults", "client"), PAIRS.values(), ids=PAIRS.keys())
def test_fetch(lay: Lay, tmp_path: Path, faults: Faults, client: Command) -> None:
    link = lay(faults)
    assert fetched(link, client("kernel", tmp_path / "out"), tmp_path / "out") == (link.root / "kernel").read_bytes()


@pytest.mark.parametrize(("faults", "client"), HARMLESS.values(), ids=HARMLESS.keys())
def test_a_whole_number_of_blocks(lay: Lay, tmp_path: Path, faults: Faults, client: Command) -> None:
    link = lay(faults)
    assert fetched(link, client("exact", tmp_path / "out"), tmp_path / "out") == (link.root / "exact").read_bytes()


@pytest.mark.parametrize(("faults", "client"), HARMLESS.values(), ids=HARMLESS.keys())
def test_an_empty_file(lay: Lay, tmp_path: Path, faults: Faults, client: Command) -> None:
    if client is curl:
        return  # it takes a tsize of 0 for nonsense
    assert fetched(lay(faults), client("empty", tmp_path / "out"), tmp_path / "out") == b""


@pytest.mark.parametrize(("faults", "client"), GOOD.values(), ids=GOOD.keys())
def test_a_file_that_is_not_there_is_said_at_once(lay: Lay, tmp_path: Path, faults: Faults, client: Command) -> None:
    run = ["ip", "netns", "exec", lay(faults).client, *client("absent", tmp_path / "out")]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    words = (done.stdout + done.stderr).lower()
    assert "nothing is served under this name" in words or "not found" in words or done.returncode == CURL_NOT_FOUND
