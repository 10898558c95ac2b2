"""A self-signed certificate for each simulated BMC, as boards come from the factory."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

YEARS = datetime.timedelta(days=3650)
EPOCH = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
"""The start of validity: fixed, so that a machine whose clock is wrong still accepts it."""


def make_certificate(name: str, address: str) -> bytes:
    """A new key and its certificate, both in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}-bmc")])
    where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(EPOCH).not_valid_after(EPOCH + YEARS)
        .add_extension(where, critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def server_context(path: Path, name: str, address: str) -> ssl.SSLContext:
    """The TLS side of one BMC; the certificate at `path` is made once and stays, so that it can be pinned."""
    if not path.exists():
        path.touch(0o600)
        path.write_bytes(make_certificate(name, address))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def shown(path: Path) -> str:
    """The certificate at `path` without its key, as PEM."""
    text = path.read_text()
    return text[text.index("-----BEGIN CERTIFICATE-----") :]
