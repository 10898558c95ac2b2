"""Rules, codecs and values are covered by tests: reads what `tests/measuring.py` measured, and says which are not.

    python -m pytest -p tests.measuring ... && python .ci/covered.py FILE

Lines and branches count. Shells are proven by tests with real peers, often in other processes, which this does not see:
they are not measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from layers import layer_of
from lints import module_name

FLOOR_PERCENT = 90.0
"""Of lines and branches of each module. What is left are mostly arms that a type already rules out."""


def is_measured(path: str) -> bool:
    """Say whether the floor holds for this module."""
    return layer_of(module_name(path)) in ("rules", "ground")


def thin(report: Mapping[str, Any], modules: Iterable[str]) -> Iterator[str]:
    """Say which of these modules are rules that are covered too little, with the first lines that no test runs."""
    for path in filter(is_measured, modules):
        if (measured := report["files"].get(path)) is None:
            yield f"{path}: no test imports it"
        elif (percent := measured["summary"]["percent_covered"]) < FLOOR_PERCENT:
            lines = ", ".join(str(line) for line in measured["missing_lines"][:8])
            yield f"{path}: {percent:.0f} % covered, at least {FLOOR_PERCENT:.0f} %; no test runs lines {lines} ..."


def main(file: str) -> int:
    """Print what is wrong; 0 where nothing is."""
    modules = (str(path) for path in sorted(Path("provisioner").rglob("*.py")))
    found = list(thin(json.loads(Path(file).read_text()), modules))
    print("\n".join(found) or f"every rule, codec and value is covered to {FLOOR_PERCENT:.0f} %")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
