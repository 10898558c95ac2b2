"""The certificate of the machines' side: who trusts the root trusts every address that is served, later ones too."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from provisioner.errors import StoreError
from provisioner.store.authority import RENEWED_BEFORE, SERVER_LIFE
from provisioner.tls import Tls


def shake_hands(tls: Tls, host: str) -> None:
    """Connect a client that trusts only our root, in memory."""
    trusting = ssl.create_default_context(cadata=tls.root.decode())
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_an_address_that_comes_later_is_named_from_then_on(tmp_path: Path) -> None:
    tls = Tls(tmp_path / "tls", [])
    root = tls.root
    tls.name("10.77.0.1")
    shake_hands(tls, "10.77.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tls, "fd77::1")
    tls.name("fd77::1")
    for host in ("10.77.0.1", "fd77::1"):
        shake_hands(tls, host)
    assert tls.root == root


def test_what_is_named_already_changes_nothing(tmp_path: Path) -> None:
    tls = Tls(tmp_path / "tls", ["10.77.0.1"])
    file = tmp_path / "tls" / "server.pem"
    before = file.read_bytes()
    tls.name("10.77.0.1")
    assert file.read_bytes() == before


def test_a_certificate_is_renewed_while_we_serve(tmp_path: Path) -> None:
    tls = Tls(tmp_path / "tls", ["10.77.0.1"])
    file, now = tmp_path / "tls" / "server.pem", time.time()
    before = file.read_bytes()
    tls.renew(now + 86400)
    assert file.read_bytes() == before
    tls.renew(now + (SERVER_LIFE - RENEWED_BEFORE).total_seconds() + 60)
    assert file.read_bytes() != before


def test_with_no_room_a_start_serves_with_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    Tls(folder, ["10.77.0.1"])
    for name in (".server.pem", ".dh.pem"):
        (folder / name).mkdir()  # nothing can be written
    tls = Tls(folder, ["10.77.0.1", "fd77::1"])
    shake_hands(tls, "10.77.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tls, "fd77::1")
    tls.renew(time.time() + (SERVER_LIFE - RENEWED_BEFORE).total_seconds() + 60)
    with pytest.raises(StoreError, match=r"tls/server.pem: cannot be written: Is a directory"):
        tls.renew(time.time() + SERVER_LIFE.total_seconds() + 60)


def test_a_first_start_with_no_room_says_so(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("no folder")
    with pytest.raises(StoreError, match="tls: cannot be written: File exists"):
        Tls(tmp_path / "tls", ["10.77.0.1"])
