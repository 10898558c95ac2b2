"""TSIG keys: a secret in base64, or the statement that tsig-keygen and BIND write. No I/O."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from provisioner.ddns.settings import ALGORITHMS
from provisioner.errors import ConfigError

_STATEMENT = re.compile(r'\s*key\s+"?([^"\s{]+)"?\s*\{(.*)\}\s*;?\s*', re.DOTALL)
_PART = re.compile(r'(algorithm|secret)\s+"?([^";\s]+)"?\s*;')


class Key(NamedTuple):
    """What updates are signed with. Never logged."""

    name: str
    algorithm: str
    secret: bytes


def parse_key(text: str, where: str, name: str, algorithm: str) -> Key:
    """Read a key file; raise `ConfigError`, which does not tell the secret."""
    secret = text.strip()
    if (statement := _STATEMENT.fullmatch(text)) is not None:
        parts = dict(_PART.findall(statement[2]))
        name, algorithm = name or statement[1], parts.get("algorithm", algorithm)
        secret = parts.get("secret", "")
    if not name:
        raise ConfigError(f"{where}: the key has no name", hint="set dns.key_name")
    if algorithm.lower() not in ALGORITHMS:
        raise ConfigError(f"{where}: algorithm {algorithm[:40]!r}: one of {', '.join(ALGORITHMS)}")
    try:
        octets = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{where}: the secret is not base64") from error
    if not octets:
        raise ConfigError(f"{where}: there is no secret in it", hint="`tsig-keygen provisioner` makes one")
    return Key(name, algorithm.lower(), octets)
