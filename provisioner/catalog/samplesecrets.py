"""What stands for a site's secrets when bootenvs are rendered for sample machines. No I/O."""

from __future__ import annotations

from provisioner.catalog.crypt import Unhashed, sha512_crypt
from provisioner.catalog.system import Secrets

ROOT_HASH = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
_HASHED: dict[Unhashed, str] = {}


class SampleSecrets(Secrets):
    """Secrets of a site, and something like one for every reference that is none of them."""

    def value(self, reference: str) -> str:
        """Look a secret up."""
        return self.values.get(reference, "Rack, <Stack> & 'Roll' 2026")

    def hashed(self, reference: str | None, user: str) -> dict[str, str | Unhashed]:
        """Give the hash, which takes milliseconds to make: once, as all boots of samples have one seed."""
        return {name: _hash(given) for name, given in super().hashed(reference, user).items()}


def _hash(given: str | Unhashed) -> str:
    if isinstance(given, str):
        return given
    if given not in _HASHED:
        _HASHED[given] = sha512_crypt(given.password, given.salt)
    return _HASHED[given]


SECRETS = SampleSecrets(
    "00112233445566778899aabbccddeeff",
    {
        "store:root": ROOT_HASH,
        "store:ann": "correct horse battery staple",
        "store:disk": "pass phrase with 'quotes' and $signs",
        "store:site": "c2l0ZS1zZWNyZXQ=",
        "store:admin": "Rack, <Stack> & 'Roll' 2026",
        "store:key": "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE",
    },
)
