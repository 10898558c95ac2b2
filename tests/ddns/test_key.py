"""Files with TSIG keys."""

from __future__ import annotations

import pytest

from provisioner.ddns.key import Key, parse_key
from provisioner.errors import ConfigError

TSIG_KEYGEN = 'key "provisioner" {\n\talgorithm hmac-sha512;\n\tsecret "c2VjcmV0";\n};\n'
KEYS = {
    "the secret alone": ("c2VjcmV0\n", "k", Key("k", "hmac-sha256", b"secret")),
    "as tsig-keygen writes it": (TSIG_KEYGEN, "", Key("provisioner", "hmac-sha512", b"secret")),
    "the configured name stands over the file's": (TSIG_KEYGEN, "k", Key("k", "hmac-sha512", b"secret")),
    "without quotes, in one line": (
        "key k { secret c2VjcmV0; algorithm HMAC-SHA1; };",
        "",
        Key("k", "hmac-sha1", b"secret"),
    ),
}


@pytest.mark.parametrize(("text", "name", "key"), KEYS.values(), ids=KEYS.keys())
def test_keys(text: str, name: str, key: Key) -> None:
    assert parse_key(text, "f", name, "hmac-sha256") == key


FAULTS = {
    "no name": ("c2VjcmV0", "", "f: the key has no name (set dns.key_name)"),
    "not base64": ("hunter2!", "k", "f: the secret is not base64"),
    "nothing": ("", "k", "f: there is no secret in it"),
    "an algorithm that is none": ('key k { algorithm rot13; secret "c2VjcmV0"; };', "", "f: algorithm 'rot13'"),
}


@pytest.mark.parametrize(("text", "name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_do_not_tell_the_secret(text: str, name: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_key(text, "f", name, "hmac-sha256")
    assert str(raised.value).startswith(fault)
    assert "hunter2" not in str(raised.value)
    assert "c2VjcmV0" not in str(raised.value)
