"""What each system takes of the vocabulary: `python -m tests.catalog.vocabulary` writes the table in docs."""

from __future__ import annotations

from pathlib import Path

from provisioner.catalog.context import MADE
from provisioner.catalog.decode import SUPPORTS
from tests.shipped import catalogue

FILE = Path(__file__).parents[2] / "docs/bootenvs.md"
HEADING = "## What each takes of the vocabulary\n"
GROUPS = {
    "layouts": "disk.layout",
    "pool": "disk.layout: zfs with",
    "encryption": "disk.encryption",
    "network": "net",
    "bonds": "net.bonds",
    "lacks": "",
}


def columns() -> dict[tuple[frozenset[str], ...], list[str]]:
    """Bootenvs that make a system on a disk, together where they take the same."""
    found: dict[tuple[frozenset[str], ...], list[str]] = {}
    for name in catalogue().names():
        bootenv = catalogue().bootenv(name)
        if bootenv.kind in MADE:
            can = bootenv.supports
            taken = (
                can.layouts,
                can.pool,
                can.encryption,
                can.network,
                can.bonds,
                set(SUPPORTS["lacks"]) - set(can.lacks),
            )
            found.setdefault(tuple(frozenset(words) for words in taken), []).append(name)
    return found


def table() -> str:
    """Words against groups of bootenvs, numbered; the groups before it."""
    groups = columns()
    lines = [f"{number}. {', '.join(f'`{name}`' for name in names)}" for number, names in enumerate(groups.values(), 1)]
    lines += ["", f"| word | {' | '.join(str(number) for number in range(1, len(groups) + 1))} |"]
    lines += [f"| --- |{' --- |' * len(groups)}"]
    for at, (key, parameter) in enumerate(GROUPS.items()):
        for word in SUPPORTS[key]:
            said = f"`{parameter}: {word}`" if parameter else f"`{word}`"
            marks = ["yes" if word in taken[at] else "refused" for taken in groups]
            lines.append(f"| {said} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def split(text: str) -> tuple[str, str, str]:
    """What is before the table, the table, and what is after it."""
    before, heading, rest = text.partition(HEADING)
    introduction, first, rest = rest.partition("\n1. ")
    body, end, after = f"{first}{rest}".lstrip("\n").partition("\n\n<!-- end of the table -->\n")
    return before + heading + introduction + "\n", body + "\n", end + after


def main() -> None:
    before, _, after = split(FILE.read_text())
    FILE.write_text(f"{before}{table().rstrip()}{after}")


if __name__ == "__main__":
    main()
