"""The certificate authority: one root for good, server certificates that are renewed in time, keys for nobody else."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from provisioner.errors import StoreError
from provisioner.store.authority import RENEWED_BEFORE, SERVER_LIFE, Authority, end_of

NOW = time.time()
LATER = NOW + (SERVER_LIFE - RENEWED_BEFORE).total_seconds() + 60


def shake_hands(authority: Authority, certificate: Path, host: str) -> None:
    """Connect a client that trusts only our root to a server with this certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(authority.certificate_file))
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(there, server_side=True) as wrapped:
                wrapped.recv(1)
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=host) as wrapped:
            wrapped.send(b"x")
    finally:
        here.close()
        thread.join()


def test_a_client_that_trusts_the_root_trusts_our_addresses(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", NOW)
    certificate = authority.server_certificate(["10.77.0.1", "fd77::1"])
    shake_hands(authority, certificate, "10.77.0.1")
    shake_hands(authority, certificate, "fd77::1")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(authority, certificate, "10.77.0.2")


def test_the_root_outlives_restarts_and_the_server_certificate_is_kept_while_it_is_good(tmp_path: Path) -> None:
    first = Authority(tmp_path, NOW)
    root, server = first.certificate_file.read_bytes(), first.server_certificate(["10.0.0.1"]).read_bytes()
    again = Authority(tmp_path, NOW + 86400)
    assert again.certificate_file.read_bytes() == root
    assert again.server_certificate(["10.0.0.1"]).read_bytes() == server


@pytest.mark.parametrize(("now", "address"), [(LATER, "10.0.0.1"), (NOW, "10.0.0.9")], ids=["old", "another address"])
def test_a_server_certificate_is_made_anew(tmp_path: Path, now: float, address: str) -> None:
    before = Authority(tmp_path, NOW).server_certificate(["10.0.0.1"]).read_bytes()
    assert Authority(tmp_path, now).server_certificate([address]).read_bytes() != before


def test_a_root_of_elliptic_curves_stays_what_firmware_has_enrolled(tmp_path: Path) -> None:
    """Roots were made so before; who trusts one trusts the server's new key of the other kind."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provisioner 1")])
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    root = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = root.public_bytes(Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(pem)
    (tmp_path / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    authority = Authority(tmp_path, NOW)
    assert authority.certificate_file.read_bytes() == pem
    assert end_of(pem.decode()) == int(NOW) + 90 * 86400
    certificate = authority.server_certificate(["10.77.0.1"])
    assert isinstance(x509.load_pem_x509_certificate(certificate.read_bytes()).public_key(), rsa.RSAPublicKey)
    shake_hands(authority, certificate, "10.77.0.1")


def test_keys_are_for_nobody_else(tmp_path: Path) -> None:
    Authority(tmp_path, NOW).server_certificate(["10.0.0.1"])
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "ca.pem": 0o644,
        "ca.key": 0o600,
        "server.pem": 0o600,
    }


def test_a_damaged_authority_is_not_replaced_in_silence(tmp_path: Path) -> None:
    Authority(tmp_path / "a", NOW)
    Authority(tmp_path / "b", NOW)
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(StoreError, match=r"ca\.key"):
        Authority(tmp_path / "a", NOW)
    (tmp_path / "b" / "ca.key").unlink()
    with pytest.raises(StoreError):
        Authority(tmp_path / "b", NOW)
