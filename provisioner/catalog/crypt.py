"""SHA-512 crypt: a password's hash as /etc/shadow holds it (Drepper, "Unix crypt using SHA-256 and SHA-512"). No I/O.

Python 3.13 has no `crypt`, and the installers read this form everywhere.
"""

from __future__ import annotations

import hashlib
import re

ROUNDS = 5000
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HASH = re.compile(r"\$(1|2[abxy]|5|6|y|7|gy)\$[A-Za-z0-9./$=,_-]+")


class Unhashed:
    """A password that is hashed where it is rendered: it takes 10 ms and more, of which the daemon's loop has none."""

    __slots__ = ("password", "salt")

    def __init__(self, password: str, salt: str) -> None:
        self.password, self.salt = password, salt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashed) and (self.password, self.salt) == (other.password, other.salt)

    def __hash__(self) -> int:
        return hash((self.password, self.salt))


def is_hash(text: str) -> bool:
    """Say whether a text is a crypt hash already."""
    return _HASH.fullmatch(text) is not None


def salt_from(seed: str, user: str) -> str:
    """Derive a salt of 16 characters (96 bits) from what was drawn for this boot: the same for a second reading."""
    octets = hashlib.sha256(f"salt\0{seed}\0{user}".encode()).digest()
    return "".join(_ALPHABET[octet & 63] for octet in octets[:16])


def sha512_crypt(password: str, salt: str) -> str:
    """Hash a password with 5000 rounds, the default that every implementation writes without naming it."""
    if not re.fullmatch(r"[./0-9A-Za-z]{1,16}", salt):
        raise ValueError(f"{salt!r} is not a salt of 1 to 16 characters of ./0-9A-Za-z")
    key, salted = password.encode(), salt.encode()
    digest = _initial(key, salted)
    keys = _repeat(hashlib.sha512(key * len(key)).digest(), len(key))
    salts = _repeat(hashlib.sha512(salted * (16 + digest[0])).digest(), len(salted))
    for number in range(ROUNDS):
        round_ = hashlib.sha512(keys if number & 1 else digest)
        if number % 3:
            round_.update(salts)
        if number % 7:
            round_.update(keys)
        round_.update(digest if number & 1 else keys)
        digest = round_.digest()
    return f"$6${salt}${_encode(digest)}"


def _initial(key: bytes, salt: bytes) -> bytes:
    other = hashlib.sha512(key + salt + key).digest()
    mixed = hashlib.sha512(key + salt + _repeat(other, len(key)))
    bits = len(key)
    while bits:
        mixed.update(other if bits & 1 else key)
        bits >>= 1
    return mixed.digest()


def _repeat(octets: bytes, length: int) -> bytes:
    return (octets * (length // len(octets) + 1))[:length]


def _encode(digest: bytes) -> str:
    """Write the 64 octets in the order and alphabet that crypt uses: three octets at a time, low bits first."""
    firsts = (22 * turn for turn in range(21))
    triples = ((digest[at % 63], digest[(at + 21) % 63], digest[(at + 42) % 63]) for at in firsts)
    return "".join(_sixes(*triple, 4) for triple in triples) + _sixes(0, 0, digest[63], 2)


def _sixes(high: int, middle: int, low: int, count: int) -> str:
    value = high << 16 | middle << 8 | low
    return "".join(_ALPHABET[value >> 6 * place & 63] for place in range(count))
