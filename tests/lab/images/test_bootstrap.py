"""Where Debian's packages come from on different hosts."""

from __future__ import annotations

import pytest

from provisioner.lab.images.bootstrap import debian_sources, passed_on

ARCHIVE, SECURITY = "http://mirror.example/debian/", "http://mirror.example/debian-security/"
HOSTS = {
    "Debian 12": (
        f"Debian bookworm main {ARCHIVE}\nDebian bookworm-updates main {ARCHIVE}\n"
        f"Debian bookworm-security main {SECURITY}\n",
        (f"deb {ARCHIVE} bookworm main", f"deb {ARCHIVE} bookworm-updates main",
         f"deb {SECURITY} bookworm-security main"),
    ),
    "Debian 13 makes Debian 12 from the same archive": (
        f"Debian trixie main {ARCHIVE}\n", (f"deb {ARCHIVE} bookworm main",),
    ),
    "other components and archives are left out": (
        f"Debian bookworm main {ARCHIVE}\nDebian bookworm non-free {ARCHIVE}\nExample bookworm main http://x.example/\n",
        (f"deb {ARCHIVE} bookworm main",),
    ),
    "backports are left out": (f"Debian bookworm-backports main {ARCHIVE}\n", ()),
    "the same archive twice counts once": (
        f"Debian bookworm main {ARCHIVE}\nDebian bookworm main {ARCHIVE}\n", (f"deb {ARCHIVE} bookworm main",),
    ),
    "Ubuntu: mmdebstrap takes Debian's own": ("Ubuntu noble main http://ubuntu.example/ubuntu/\n", ()),
    "nothing at all": ("\n", ()),
}  # fmt: skip


@pytest.mark.parametrize(("targets", "sources"), HOSTS.values(), ids=HOSTS.keys())
def test_archives_follow_the_hosts_apt(targets: str, sources: tuple[str, ...]) -> None:
    assert debian_sources("bookworm", targets) == sources


def test_proxies_of_the_hosts_apt_are_passed_on_and_nothing_else() -> None:
    dump = 'Acquire::http::Proxy "http://p:3142";\nAcquire::Retries "3";\nAPT::Sandbox::User "root";\n'
    assert passed_on(dump) == [("Acquire::http::Proxy", "http://p:3142"), ("Acquire::Retries", "3")]
