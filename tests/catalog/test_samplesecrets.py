"""The secrets of sample machines: one for every reference, and hashed as a renderer hashes those of a site."""

from __future__ import annotations

import pytest

from provisioner.catalog.crypt import Unhashed, sha512_crypt
from provisioner.catalog.samplesecrets import ROOT_HASH, SECRETS
from provisioner.catalog.system import Secrets

REFERENCES = {
    "a password": "store:ann",
    "a hash": "store:root",
    "what no site has": "env:OTHER",
    "none": None,
}


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES.keys())
def test_a_hash_is_that_of_a_site_s_secret_each_time(reference: str | None) -> None:
    site = Secrets(SECRETS.seed, {reference: SECRETS.value(reference)} if reference else {})
    given = site.hashed(reference, "ann")["hash"]
    hashed = sha512_crypt(given.password, given.salt) if isinstance(given, Unhashed) else given
    assert [SECRETS.hashed(reference, "ann") for _ in range(2)] == [{"hash": hashed}] * 2


def test_two_users_of_one_password_have_two_hashes() -> None:
    assert SECRETS.hashed("store:ann", "ann") != SECRETS.hashed("store:ann", "bob")
    assert SECRETS.hashed("store:root", "ann") == {"hash": ROOT_HASH}
