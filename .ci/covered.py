"""Rules, codecs and values are covered by tests: reads what coverage measured and says which modules are not.

    python -m pytest --cov --cov-report=json:FILE ... && python .ci/covered.py FILE

Lines and branches count. Shells are proven by tests with real peers, often in other processes, which this does not see.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layers import layer_of
from lints import module_name

FLOOR_PERCENT = 90.0
"""Of lines and branches of each module. What is left are mostly arms that a type already rules out."""


def thin(report: Mapping[str, Any]) -> Iterator[str]:
    """The rules that are covered too little, with the first lines that no test runs."""
    for path, measured in sorted(report["files"].items()):
        percent = measured["summary"]["percent_covered"]
        if layer_of(module_name(path)) in ("rules", "ground") and percent < FLOOR_PERCENT:
            lines = ", ".join(str(line) for line in measured["missing_lines"][:8])
            yield f"{path}: {percent:.0f} % covered, at least {FLOOR_PERCENT:.0f} %; no test runs lines {lines} ..."


def main(file: str) -> int:
    """Print what is wrong; 0 where nothing is."""
    found = list(thin(json.loads(Path(file).read_text())))
    print("\n".join(found) or f"every rule, codec and value is covered to {FLOOR_PERCENT:.0f} %")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
