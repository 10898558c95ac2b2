"""Tables in the documents that are made from the code, so that they cannot grow old.

    python .ci/tables.py [--write]

A document holds `<!-- table NAME -->` and `<!-- end -->`; what stands between is compared with the code, or written.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from provisioner import yamlfile
from provisioner.catalog.decode import decode_param
from provisioner.catalog.load import shipped
from provisioner.catalog.spelled import words
from provisioner.fields import Faults, Fields
from provisioner.lifecycle.plans import KINDS, VERBS, WAITED_FOR, VerbRule
from provisioner.model.catalog import Param
from provisioner.model.machine import State

DOCS = Path(__file__).parents[1] / "docs"
PLACE = re.compile(r"(<!-- table (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def limit(seconds: float) -> str:
    """A time limit for people."""
    if seconds >= 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds % 60 == 0 else f"{seconds:.0f} s"


def states(rule: VerbRule) -> str:
    """The states that a verb starts from, in the order of a machine's life."""
    return ", ".join(state for state in State if state in rule.start)


def verb_table() -> str:
    """What an operator can ask for: from where, through which state, in which steps."""
    rows = (
        (f"`{verb}`", states(rule), rule.moving, limit(rule.limit_s), " ".join(rule.steps))
        for verb, rule in VERBS.items()
    )
    return table(("verb", "from", "through", "limit", "steps"), rows)


def step_table() -> str:
    """What a run's steps wait for, how long, how often, and what is said when nothing comes."""
    rows = (
        (
            f"`{name}`",
            kind.phase,
            f"waits for `{kind.signal}`" if kind.signal else "acts",
            limit(kind.timeout_s),
            str(1 + kind.retries),
            "network" if kind.network else "disk",
            WAITED_FOR.get(name, ""),
        )
        for name, kind in KINDS.items()
    )
    return table(
        ("step", "sub-phase", "what", "limit", "tries", "it may boot from", "said when the limit is over"), rows
    )


def parameter_table(source: str) -> str:
    """The parameters of one file of `bootenvs/params`, each with the keys inside of it."""
    document = yamlfile.load((shipped() / PARAMS / f"{source}.yaml").read_bytes(), f"{source}.yaml")
    fields = Fields(document, Faults())
    return table(
        ("parameter", "what", "it takes", "default", "layers"),
        (row for name in document.value for row in parameter_rows(decode_param(name, fields.part(name)))),
    )


def parameter_rows(param: Param) -> Iterator[Sequence[str]]:
    """One parameter, and what it is made of."""
    for word in words(param):
        is_itself = word.path == param.name
        takes = code(word.takes) if "^" in word.takes else word.takes
        yield (
            code(word.path),
            cell(word.about),
            cell(takes + (", has to be there" if word.required else "")),
            cell(code(json.dumps(param.default))) if is_itself and param.default is not None else "",
            str(param.merge) if is_itself else "",
        )


def cell(text: str) -> str:
    """Text in a cell: a stroke would end it."""
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """Text as it is."""
    return f"`{text}`"


PARAMS = "bootenvs/params"
TABLES: dict[str, Callable[[], str]] = {"verbs": verb_table, "steps": step_table} | {
    f"parameters-{path.stem}": partial(parameter_table, path.stem) for path in (shipped() / PARAMS).glob("*.yaml")
}


def renewed(text: str) -> str:
    """A document with its tables as the code has them."""
    return PLACE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[4]}", text)


def main(option: str = "") -> int:
    """Compare, or write; 0 where the documents are up to date."""
    old = 0
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text()
        if renewed(text) != text:
            if option == "--write":
                path.write_text(renewed(text))
                print(f"written: docs/{path.relative_to(DOCS)}")
            else:
                print(
                    f"docs/{path.relative_to(DOCS)}: a table is older than the code; run python .ci/tables.py --write"
                )
                old = 1
    return old


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
