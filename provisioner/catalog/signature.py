"""OpenPGP signatures over files, checked by gpgv against a keyring of the distribution's or the operator's."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from provisioner.errors import ArtifactError

SYSTEM_KEYRINGS = Path("/usr/share/keyrings")
"""Where distributions' packages put their keyrings: debian-archive-keyring, ubuntu-keyring, fedora's and others'."""
TIMEOUT_S = 60.0
_KEY = re.compile(r"VALIDSIG ([0-9A-F]{40,64}) ")
_BAD = re.compile(r"^\[GNUPG:\] (?:BADSIG|ERRSIG|NO_PUBKEY|EXPKEYSIG|REVKEYSIG|EXPSIG|NODATA)\b.*", re.MULTILINE)


def find_keyring(name: str, directories: Sequence[Path]) -> Path:
    """Find a keyring by its name, such as `ubuntu-archive`; raise `ArtifactError` that says where it was looked for."""
    for directory in (*directories, SYSTEM_KEYRINGS):
        for file in (f"{name}.gpg", f"{name}-keyring.gpg", f"{name}.pgp"):
            if (directory / file).is_file():
                return directory / file
    places = ", ".join(str(directory) for directory in (*directories, SYSTEM_KEYRINGS))
    hint = f"install the package that has it (ubuntu-keyring, debian-archive-keyring, ...) or put {name}.gpg there"
    raise ArtifactError(f"no keyring {name!r} in {places}", hint=hint)


def check(content: Path, signature: Path, keyring: Path) -> str:
    """Check a detached signature and say by which key; raise `ArtifactError`.

    One good signature by a key of the keyring is enough: distributions sign with several while they change keys. One by
    a key that is revoked or has expired counts for nothing, and neither does one that has expired itself.
    """
    return _gpgv([str(signature), str(content)], content.name, keyring)


def check_clear_signed(content: Path, keyring: Path, signed: Path) -> str:
    """Check a clear-signed file; write to `signed` what the signature covers, which alone may be believed."""
    signed.unlink(missing_ok=True)
    return _gpgv([str(content)], content.name, keyring, "--output", str(signed))


def _gpgv(files: Sequence[str], name: str, keyring: Path, *options: str) -> str:
    command = ["gpgv", "--status-fd", "1", "--keyring", str(keyring.resolve()), *options, "--", *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise ArtifactError("gpgv is not installed: no signature can be checked", hint="apt install gpgv") from error
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"gpgv took more than {TIMEOUT_S:.0f} s") from error
    key = good_key(done.stdout)
    if not key:
        said = "; ".join(match.removeprefix("[GNUPG:] ") for match in _BAD.findall(done.stdout)) or "no signature"
        text = f"{name}: not signed by a key of {keyring.name}"
        raise ArtifactError(f"{text} ({said[:200]})", hint=_hint(said))
    return key


def good_key(status: str) -> str:
    """Say by which key there is a good signature, of gpgv's status lines (GnuPG's doc/DETAILS); empty where by none.

    VALIDSIG alone does not say so: it follows REVKEYSIG, EXPKEYSIG and EXPSIG as well. A key that has expired counts
    for nothing even for what is dated earlier: whoever has it dates as he likes, and one that was revoked besides is
    told as expired alone.
    """
    good = False
    for line in status.splitlines():
        words = line.removeprefix("[GNUPG:] ")
        if words.startswith("NEWSIG"):
            good = False
        elif words.startswith("GOODSIG "):
            good = True
        elif good and (match := _KEY.match(words)):
            return match[1]
    return ""


def _hint(said: str) -> str:
    if "EXPKEYSIG" in said or "REVKEYSIG" in said:
        return "nothing of it was taken; a newer keyring may have the key that counts now"
    return "nothing of it was taken"
