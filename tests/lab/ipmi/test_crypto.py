"""Keys, seals and ciphers: round trips, damage is seen."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.lab.ipmi.crypto import SUITE_3, SUITE_17, SUITES, Exchange, Keys, Suite


def exchange(suite: Suite) -> Exchange:
    return Exchange(
        suite, b"\x01" * 4, b"\x02" * 4, b"\x03" * 16, b"\x04" * 16, b"\x05" * 16, 0x14, b"admin", b"secret"
    )


@hypothesis.given(st.binary(max_size=255), st.sampled_from(SUITES))
def test_encrypted_is_read_again(payload: bytes, suite: Suite) -> None:
    keys = exchange(suite).keys()
    assert keys.decrypt(keys.encrypt(payload, bytes(16))) == payload


@hypothesis.given(st.binary(max_size=96))
def test_any_bytes_decrypt_to_a_value_or_a_wire_error(data: bytes) -> None:
    keys = exchange(SUITE_3).keys()
    with contextlib.suppress(WireError):
        assert isinstance(keys.decrypt(data), bytes)


LENGTHS = {"suite 3": (SUITE_3, 20, 12, 12), "suite 17": (SUITE_17, 32, 16, 16)}


@pytest.mark.parametrize(("suite", "code", "check", "seal"), LENGTHS.values(), ids=LENGTHS.keys())
def test_lengths_of_codes(suite: Suite, code: int, check: int, seal: int) -> None:
    found = exchange(suite)
    assert (len(found.rakp2()), len(found.rakp3()), len(found.rakp4())) == (code, code, check)
    assert len(found.keys().seal(b"x")) == seal


def test_a_seal_depends_on_every_byte_and_the_password() -> None:
    keys: Keys = exchange(SUITE_17).keys()
    assert keys.is_sealed(b"abc", keys.seal(b"abc"))
    assert not keys.is_sealed(b"abd", keys.seal(b"abc"))
