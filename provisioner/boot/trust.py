"""Trust in our CA as firmware knows it: certificates in the form that it takes, and its refusals in words. No I/O."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import uuid
from collections.abc import Callable, Mapping

from provisioner.errors import WireError

X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
"""EFI_CERT_X509_GUID (UEFI 2.10 section 32.4.1): a signature list of this type holds one certificate (DER)."""
OWNER = uuid.UUID("51f6c1a0-8f0c-4b43-9a0b-6d7e3c8f2a11")
"""Who enrolled it: an identifier of our own, so that an operator finds our entries among others."""
_PEM = re.compile("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)  # RFC 7468
_LIST = struct.Struct("<16sIII")


def der(pem: str) -> bytes:
    """Read the first certificate of a PEM text; raise `WireError`."""
    found = _PEM.search(pem)
    if found is None:
        raise WireError("not a certificate in PEM: no such lines")
    try:
        return base64.b64decode("".join(found[1].split()), validate=True)
    except ValueError as error:
        raise WireError(f"not a certificate in PEM: {error}") from error


def signature_list(certificate: bytes) -> bytes:
    """Write a certificate (DER) as an EFI signature list: what the variable `TlsCaCertificate` holds."""
    entry = OWNER.bytes_le + certificate
    return _LIST.pack(X509.bytes_le, _LIST.size + len(entry), 0, len(entry)) + entry


def fingerprint(certificate: bytes) -> str:
    """Say by which number people and boards compare a certificate (DER): SHA-256, in capitals with colons."""
    return hashlib.sha256(certificate).digest().hex(":").upper()


FORMATS: Mapping[str, Callable[[str], bytes]] = {
    "pem": lambda pem: pem.encode("ascii"),
    "der": der,
    "esl": lambda pem: signature_list(der(pem)),
}
"""The forms of a CA's certificate, made of its PEM text: for menus and boards (pem, der), for a variable (esl)."""

NO_TRUST = "it does not trust our CA"
REFUSALS: Mapping[str, str] = {
    "TLSV1_ALERT_UNKNOWN_CA": NO_TRUST,
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses our certificate: another CA is enrolled, or its clock is wrong",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses our certificate: another CA is enrolled, or its clock is wrong",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate is not good at the time that its clock tells",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it cannot read our certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "it cannot check our certificate's signature",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it has no cipher in common with us",
    "NO_SHARED_CIPHER": "it has no cipher in common with us",
    "UNSUPPORTED_PROTOCOL": "it knows no TLS 1.2",
    "HTTP_REQUEST": "it speaks HTTP where HTTPS is served",
}
"""What it means when a handshake ends so, by OpenSSL's name of the reason (RFC 5246 section 7.2.2 has the alerts)."""
SILENT = "it hung up, as EDK2 does that does not trust our CA or finds another address in our certificate"


def refusal(reason: str) -> str:
    """Say in words why a client shook no hands with us; `reason` is OpenSSL's name, empty where it just left."""
    if not reason:
        return SILENT
    return REFUSALS.get(reason, f"the handshake failed: {reason.lower().replace('_', ' ')[:80]}")
