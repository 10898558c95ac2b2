"""The daemon's own certificate authority: one root, kept for years, and a server certificate for our addresses.

Firmware and iPXE trust what an operator has put into them. That is the root's certificate, so it stays the same while
server certificates come and go. Keys are RSA: EDK2 was built without elliptic curves into 2022, iPXE until 2025.
Blocks: called while starting.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioner.durable import replace
from provisioner.errors import StoreError
from provisioner.store.trouble import hint_for

log = logging.getLogger(__name__)

ROOT_LIFE = datetime.timedelta(days=3650)
SERVER_LIFE = datetime.timedelta(days=90)
RENEWED_BEFORE = datetime.timedelta(days=30)
KEY_BITS = 2048
"""The most that every firmware takes: some setup menus refuse a CA with longer keys."""
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
SLOW_CLOCK = datetime.timedelta(days=2)
"""Certificates are valid from so long before they were made: a machine whose battery is dead boots all the same."""
_PARAMETERS = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """The root in `folder`, made at its first use. `now` is in seconds since the epoch. Raises `StoreError`."""

    def __init__(self, folder: Path, now: float) -> None:
        self._folder = folder
        self._now = datetime.datetime.fromtimestamp(now, datetime.UTC)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            if not self.certificate_file.exists():
                self._make_root()
            self._root = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise StoreError(f"{folder}: the certificate authority cannot be read: {error}") from error
        # a root that was made when they were of elliptic curves stays: somebody may have enrolled it
        if not isinstance(key, Key) or key.public_key() != self._root.public_key():
            raise StoreError(f"{self._key_file}: not the key of {self.certificate_file.name}")
        self._key: Key = key

    @property
    def certificate_file(self) -> Path:
        """The root's certificate, to be trusted by machines (PEM)."""
        return self._folder / "ca.pem"

    @property
    def _key_file(self) -> Path:
        return self._folder / "ca.key"

    def server_certificate(self, addresses: Sequence[str]) -> Path:
        """A file with key and certificate for our addresses; made anew when it is near its end or they have changed.

        Where there is no room for another, the one that is there serves, until its end, the addresses that it names.
        """
        file = self._folder / "server.pem"
        if not self._good(file, addresses):
            try:
                _write(file, self._issue(addresses))
            except StoreError as error:
                if self._named(file, self._now) is None:
                    raise
                log.error("http.certificate-old error=%s", error)
        return file

    def _good(self, file: Path, addresses: Sequence[str]) -> bool:
        return self._named(file, self._now + RENEWED_BEFORE) == set(addresses)

    def _named(self, file: Path, until: datetime.datetime) -> set[str] | None:
        """The addresses that a certificate of ours names; None where it is none, or is over by then."""
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, x509.ExtensionNotFound):
            return None
        if certificate.not_valid_after_utc <= until or certificate.issuer != self._root.subject:
            return None
        return {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}

    def _make_root(self) -> None:
        key = _new_key()
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"provisioner {key.public_key().public_numbers().n:x}"[:40])]
        )
        certificate = (
            self._certificate(name, name, key.public_key(), ROOT_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_PARAMETERS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self._key_file, _private(key))
        _write(self.certificate_file, certificate.public_bytes(Encoding.PEM), mode=0o644)

    def _issue(self, addresses: Sequence[str]) -> bytes:
        key = _new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provisioner")])
        where = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        certificate = (
            self._certificate(subject, self._root.subject, key.public_key(), SERVER_LIFE)
            .add_extension(x509.SubjectAlternativeName(where), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _private(key) + certificate.public_bytes(Encoding.PEM)

    def _certificate(
        self, subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, life: datetime.timedelta
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(self._now - SLOW_CLOCK).not_valid_after(self._now + life)


def end_of(pem: str) -> float:
    """Say until when a certificate is good, in seconds since the epoch."""
    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _private(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(file: Path, content: bytes, mode: int = 0o600) -> None:
    try:
        replace(file, content, mode)
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror}", hint=hint_for(file, error)) from error
