"""Only a signature that is good counts, by a key that is neither revoked nor expired."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.catalog import signature
from provisioner.errors import ArtifactError
from tests.catalog.vendor import Signer

KEY, OTHER = "A" * 40, "B" * 40
VALID = f"[GNUPG:] VALIDSIG {KEY} 2020-02-01 1580515200 0 4 0 22 8 00 {KEY}"
NEW = "[GNUPG:] NEWSIG"

STATUS: dict[str, tuple[list[str], str]] = {
    "a good one": ([NEW, "[GNUPG:] GOODSIG 1F12 a <a@x>", VALID], KEY),
    "by a revoked key": ([NEW, "[GNUPG:] REVKEYSIG 1F12 a <a@x>", VALID], ""),
    "by an expired key": ([NEW, "[GNUPG:] KEYEXPIRED 1591012800", "[GNUPG:] EXPKEYSIG 1F12 a <a@x>", VALID], ""),
    "expired itself": ([NEW, "[GNUPG:] EXPSIG 1F12 a <a@x>", VALID], ""),
    "a bad one": ([NEW, "[GNUPG:] BADSIG 1F12 a <a@x>"], ""),
    "none": ([], ""),
    "a name that looks like a word of gpgv's": ([NEW, "[GNUPG:] REVKEYSIG 1F12 GOODSIG 1F12", VALID], ""),
    "a revoked key's, then a good one": (
        [NEW, "[GNUPG:] REVKEYSIG 1F12 a", VALID.replace(KEY, OTHER), NEW, "[GNUPG:] GOODSIG 1F12 a", VALID],
        KEY,
    ),
    "a good one that is not valid, then a revoked key's": (
        [NEW, "[GNUPG:] GOODSIG 1F12 a", NEW, "[GNUPG:] REVKEYSIG 1F12 a", VALID],
        "",
    ),
}


@pytest.mark.parametrize(("lines", "key"), STATUS.values(), ids=STATUS.keys())
def test_what_gpgv_says(lines: list[str], key: str) -> None:
    assert signature.good_key("\n".join(lines)) == key


CONTENT = b"9f86d081  linux\n"


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[Signer]:
    key = Signer(tmp_path / "keyrings", "vendor")
    yield key
    key.close()


def check(folder: Path, signed: bytes) -> str:
    (folder / "SUMS").write_bytes(CONTENT)
    (folder / "SUMS.gpg").write_bytes(signed)
    return signature.check(folder / "SUMS", folder / "SUMS.gpg", folder / "keyrings" / "vendor.gpg")


@pytest.mark.peer
def test_a_key_that_was_revoked_signs_nothing(tmp_path: Path, signer: Signer) -> None:
    signed, clear = signer.detached(CONTENT), signer.clear(CONTENT)
    assert check(tmp_path, signed)
    signer.revoke()
    with pytest.raises(ArtifactError, match="REVKEYSIG") as refused:
        check(tmp_path, signed)
    assert "newer keyring" in refused.value.hint
    (tmp_path / "InRelease").write_bytes(clear)
    with pytest.raises(ArtifactError, match="REVKEYSIG"):
        signature.check_clear_signed(tmp_path / "InRelease", tmp_path / "keyrings/vendor.gpg", tmp_path / "covered")


@pytest.mark.peer
@pytest.mark.parametrize(
    ("expire", "option", "said"), [("2020-06-01", "", "EXPKEYSIG"), ("never", "2020-02-10", "EXPSIG")]
)
def test_what_has_expired_signs_nothing(tmp_path: Path, expire: str, option: str, said: str) -> None:
    signer = Signer(tmp_path / "keyrings", "vendor", expire=expire, today="20200101T000000")
    try:
        signed = signer.detached(CONTENT, *(["--default-sig-expire", option] if option else []))
    finally:
        signer.close()
    with pytest.raises(ArtifactError, match=said):
        check(tmp_path, signed)
