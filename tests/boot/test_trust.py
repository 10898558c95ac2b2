"""Certificates as firmware takes them, and what its refusals mean."""

from __future__ import annotations

import ssl
import struct
import uuid

import pytest

from provisioner.boot.trust import FORMATS, REFUSALS, SILENT, X509, der, fingerprint, refusal, signature_list
from provisioner.errors import WireError

DER = bytes(range(256)) * 3
PEM = ssl.DER_cert_to_PEM_cert(DER)


def test_a_signature_list_as_the_specification_has_it() -> None:
    """UEFI 2.10 section 32.4.1: type, size of all, size of a header, size of each entry; then owner and certificate."""
    found = signature_list(DER)
    kind, size, header, entry = struct.unpack_from("<16sIII", found)
    assert uuid.UUID(bytes_le=kind) == X509
    assert found[:16].hex() == "a159c0a5e494a74a87b5ab155c2bf072", "EFI_CERT_X509_GUID, its first fields little-endian"
    assert (size, header, entry) == (len(found), 0, 16 + len(DER))
    assert found[28 + 16 :] == DER


def test_the_forms_are_of_one_certificate() -> None:
    assert FORMATS["pem"](PEM).decode() == PEM
    assert FORMATS["der"](f"# ours\n{PEM}") == DER
    assert FORMATS["esl"](PEM) == signature_list(DER)


def test_a_fingerprint_as_boards_show_it() -> None:
    assert fingerprint(b"").startswith("E3:B0:C4:42:98:FC:1C:14")


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nno end", PEM.replace("A", "%", 1)])
def test_what_is_no_certificate(text: str) -> None:
    with pytest.raises(WireError, match="not a certificate in PEM"):
        der(text)


WORDS = {
    "an alert": ("TLSV1_ALERT_UNKNOWN_CA", "it does not trust our CA"),
    "no alert: it just left": ("", SILENT),
    "one that nobody wrote down": ("WRONG_VERSION_NUMBER", "the handshake failed: wrong version number"),
}


@pytest.mark.parametrize(("reason", "words"), WORDS.values(), ids=WORDS.keys())
def test_a_refusal_in_words(reason: str, words: str) -> None:
    assert refusal(reason) == words


def test_no_refusal_is_told_as_a_number() -> None:
    assert all(text and "ALERT" not in text for text in REFUSALS.values())
