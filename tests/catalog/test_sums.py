"""Checksum files of every vendor whose systems we boot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.catalog.sums import expected, intermediate, parse
from provisioner.errors import ArtifactError

A, B, C = "a" * 64, "b" * 64, "c" * 64
BASE = "https://mirror.example/ubuntu/22.04"

STATED: dict[str, tuple[str, str, str]] = {
    "Ubuntu: binary mode": (f"{A} *ubuntu.iso\n{B} *other.iso\n", f"{BASE}/SHA256SUMS", f"{BASE}/ubuntu.iso"),
    "coreutils: text mode": (f"{A}  ubuntu.iso\n", f"{BASE}/SHA256SUMS", f"{BASE}/ubuntu.iso"),
    "Debian's images: ./ in front": (
        f"{B}  ./netboot/linux\n{A}  ./netboot/gtk/linux\n",
        f"{BASE}/images/SHA256SUMS",
        f"{BASE}/images/netboot/gtk/linux",
    ),
    "Fedora and Rocky: BSD style": (
        f"# Rocky.iso: 5 bytes\nSHA256 (Rocky.iso) = {A}\n",
        f"{BASE}/CHECKSUM",
        f"{BASE}/Rocky.iso",
    ),
    "Red Hat's treeinfo": (
        f"[checksums]\nimages/pxeboot/vmlinuz = sha256:{A}\nimages/boot.iso = sha256:{B}\n",
        f"{BASE}/os/.treeinfo",
        f"{BASE}/os/images/pxeboot/vmlinuz",
    ),
    "Debian's Release": (
        f"MD5Sum:\n {'d' * 32} 5 main/x\nSHA256:\n {A}     1234 main/x\n {B} 9 main/y\n",
        f"{BASE}/dists/bookworm/Release",
        f"{BASE}/dists/bookworm/main/x",
    ),
    "a list that lies elsewhere": (
        f"{A}  talos.xz\n",
        "https://a.example/x/sha256sum.txt",
        "https://b.example/y/talos.xz",
    ),
    "upper case": (f"{A.upper()}  f\n", f"{BASE}/S", f"{BASE}/f"),
    "a name with a space": (f"{A}  my file\n", f"{BASE}/S", f"{BASE}/my%20file"),
    "Windows line ends": (f"{A}  f\r\n", f"{BASE}/S", f"{BASE}/f"),
}


@pytest.mark.parametrize(("text", "sums_url", "url"), STATED.values(), ids=STATED.keys())
def test_expected(text: str, sums_url: str, url: str) -> None:
    assert expected(text, sums_url, url) == A


REFUSED: dict[str, tuple[str, str]] = {
    "not listed": (f"{A}  other\n", "not among its 1 entries"),
    "an HTML page in its place": ("<html>not found</html>", "not among its 0 entries"),
    "two of that name": (f"{A}  x/f\n{B}  y/f\n", "more than once"),
    "MD5 only": (f"{'a' * 32}  f\n", "not among its 0 entries"),
}


@pytest.mark.parametrize(("text", "fault"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text: str, fault: str) -> None:
    with pytest.raises(ArtifactError, match=fault):
        expected(text, f"{BASE}/SHA256SUMS", f"{BASE}/f")


def test_debians_release_leads_to_the_checksums_of_the_images() -> None:
    images = "main/installer-amd64/current/images"
    text = (
        f"SHA256:\n {A} 1 {images}/SHA256SUMS\n {B} 1 main/installer-arm64/current/images/SHA256SUMS\n {C} 1 main/x\n"
    )
    release = f"{BASE}/dists/bookworm/InRelease"
    url = f"{BASE}/dists/bookworm/{images}/netboot/debian-installer/amd64/linux"
    assert intermediate(text, release, url) == (f"{BASE}/dists/bookworm/{images}/SHA256SUMS", A)
    assert intermediate(text, release, f"{BASE}/pool/linux") is None


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    for sha256 in parse(text).values():
        assert len(sha256) == 64
