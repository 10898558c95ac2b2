"""Install Debian's packages into a tree with mmdebstrap, from the archives that the host's apt knows.

Where the host is not Debian, mmdebstrap uses Debian's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.discovery.build.tools import Say, run, with_own_mounts

_PASSED_ON = re.compile(
    r'^(Acquire::(?:[a-z]+::)?(?:Proxy|Retries|CaInfo|Proxy-Auto-Detect)\b.*) "(.+)";$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Into:
    """Where mmdebstrap puts a system: in which `form`, without which files, and with which hooks besides."""

    form: str
    target: Path
    excluded: tuple[str, ...]
    hooks: tuple[str, ...] = ()


def bootstrap(suite: str, packages: Sequence[str], sources: tuple[str, ...], into: Into, debs: Path, say: Say) -> None:
    """Install packages and what they need. Downloads are kept in `debs`, without which nothing changes but the time."""
    debs.mkdir(parents=True, exist_ok=True)
    say(f"installing {suite} with {len(packages)} packages and what they need")
    proxies = [f'--aptopt={name} "{value}"' for name, value in passed_on(apt_config())]
    command = [
        "mmdebstrap", "--mode=root", "--variant=minbase", f"--format={into.form}", "--quiet",
        f"--include={','.join(packages)}", '--aptopt=Apt::Install-Recommends "false"', "--dpkgopt=force-unsafe-io",
        *proxies, *(f"--dpkgopt=path-exclude={glob}" for glob in into.excluded),
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f"--setup-hook=sync-in {debs} /var/cache/apt/archives",
        "--skip=essential/unlink",
        f"--customize-hook=sync-out /var/cache/apt/archives {debs}",
        *into.hooks, suite, str(into.target), *sources,
    ]  # fmt: skip
    run(with_own_mounts(command), env={"SOURCE_DATE_EPOCH": "0"})


def debian_sources(suite: str, targets: str) -> tuple[str, ...]:
    """Make apt source lines for `suite` from the host's index targets; none where the host is not Debian.

    `targets` has lines "ORIGIN SUITE COMPONENT URI"; a host of another Debian release has the same archives.
    """
    lines = []
    for line in targets.splitlines():
        origin, release, component, uri = (*line.split(), "", "", "", "")[:4]
        tail = re.sub(r"^[a-z]+", "", release)
        if origin == "Debian" and component == "main" and tail in ("", "-updates", "-security"):
            lines.append(f"deb {uri} {suite}{tail} main")
    return tuple(dict.fromkeys(lines))


def index_targets() -> str:
    """The archives that the host's apt knows, as lines for `debian_sources`."""
    form = "$(ORIGIN) $(RELEASE) $(COMPONENT) $(REPO_URI)"
    return run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).decode("utf-8", "replace")


def passed_on(config: str) -> list[tuple[str, str]]:
    """The settings of the host's apt that a bootstrap needs too: proxies, certificates, retries."""
    return _PASSED_ON.findall(config)


def apt_config() -> str:
    """The host's apt settings, as apt-config dumps them."""
    return run(["apt-config", "dump"]).decode("utf-8", "replace")
