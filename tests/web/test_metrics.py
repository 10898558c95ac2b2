"""Metrics as they are scraped: written by us, read by Prometheus' own client library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from provisioner.web.metrics import Kind, Metric, counter, exposition, gauge, single

WRITTEN = {
    "a level without labels": (
        single("a_up", Kind.GAUGE, "Is it up?", True),
        "# HELP a_up Is it up?\n# TYPE a_up gauge\na_up 1\n",
    ),
    "counts by a label": (
        counter("a_total", "All.", {"x": 2, "y": 0.5}, "kind"),
        '# HELP a_total All.\n# TYPE a_total counter\na_total{kind="x"} 2\na_total{kind="y"} 0.5\n',
    ),
    "what has to be escaped": (
        gauge("a", "back\\slash\nline", {'q"u\\o\nte': 1}, "name"),
        '# HELP a back\\\\slash\\nline\n# TYPE a gauge\na{name="q\\"u\\\\o\\nte"} 1\n',
    ),
    "nothing counted yet": (counter("a_total", "All.", {}, "kind"), "# HELP a_total All.\n# TYPE a_total counter\n"),
}


@pytest.mark.parametrize(("metric", "text"), WRITTEN.values(), ids=WRITTEN.keys())
def test_how_a_metric_is_written(metric: Metric, text: str) -> None:
    assert exposition([metric]) == text


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)
values = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.peer
@given(st.dictionaries(words, values, max_size=5), words)
def test_prometheus_reads_what_we_write(levels: dict[str, float], help: str) -> None:
    (family,) = text_string_to_metric_families(exposition([gauge("a_level", help, levels, "name")]))
    assert (family.name, family.type) == ("a_level", "gauge")
    assert {sample.labels["name"]: sample.value for sample in family.samples} == levels
