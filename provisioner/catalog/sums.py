"""Checksum files as vendors write them: which SHA-256 they state for a file. No I/O.

Known: `sha256sum` lists, BSD lists (`SHA256 (name) = hex`), Debian's Release files, the .treeinfo of Red Hat's family.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urljoin, urlsplit

from provisioner.errors import ArtifactError

MAX_BYTES = 8 * 1024 * 1024
"""Debian's own Release files are below one."""

_GNU = re.compile(r"([0-9a-fA-F]{64})[ \t]+[* ]?(\S.*)")
_BSD = re.compile(r"SHA256 ?\((.+)\) ?= ?([0-9a-fA-F]{64})")
_RELEASE = re.compile(r" ([0-9a-f]{64}) +([0-9]+) +(\S+)")
_TREEINFO = re.compile(r"(\S+) ?= ?sha256:([0-9a-f]{64})")


def parse(text: str) -> dict[str, str]:
    """Read every name and hash of a checksum file."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _GNU.fullmatch(line.rstrip()):
            found[_tidy(match[2])] = match[1].lower()
        elif (match := _BSD.fullmatch(line.strip())) or (match := _TREEINFO.fullmatch(line.strip())):
            found[_tidy(match[1])] = match[2].lower()
        elif match := _RELEASE.fullmatch(line.rstrip()):
            found[_tidy(match[3])] = match[1]
    return found


def expected(text: str, sums_url: str, url: str) -> str:
    """Say which hash the checksum file at `sums_url` states for the file at `url`; raise `ArtifactError`.

    Names in it are relative to where it lies. A bare name counts too, where only one entry ends in it.
    """
    found = parse(text)
    path = _path(url)
    relative = posixpath.relpath(path, posixpath.dirname(_path(sums_url)) or "/")
    if relative in found:
        return found[relative]
    base = posixpath.basename(path)
    named = {sha256 for name, sha256 in found.items() if posixpath.basename(name) == base}
    if len(named) == 1:
        return named.pop()
    fault = "is named more than once, with different hashes" if named else f"is not among its {len(found)} entries"
    raise ArtifactError(f"{sums_url}: {relative} {fault}", hint="the bootenv's url and sums do not belong together")


def intermediate(text: str, sums_url: str, url: str) -> tuple[str, str] | None:
    """Find the checksum file, listed in this one, that is nearest to the file at `url`; say its URL and hash.

    Debian signs dists/SUITE/InRelease, which states the hash of .../images/SHA256SUMS, which states those of the
    installer's kernel and initrd.
    """
    base = posixpath.dirname(_path(sums_url))
    near = [
        (name, sha256)
        for name, sha256 in parse(text).items()
        if posixpath.basename(name) == "SHA256SUMS"
        and _path(url).startswith(f"{posixpath.join(base, posixpath.dirname(name))}/")
    ]
    if not near:
        return None
    name, sha256 = max(near, key=lambda item: len(item[0]))
    return urljoin(sums_url, name), sha256


def _path(url: str) -> str:
    return unquote(urlsplit(url).path)


def _tidy(name: str) -> str:
    return posixpath.normpath(name.strip())
