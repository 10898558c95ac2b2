"""Metrics in Prometheus' text format (exposition format 0.0.4), on the operator API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from provisioner.web.ports import Route

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(StrEnum):
    """How a value moves."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: values by their labels. The unit is in the name."""

    name: str
    kind: Kind
    help: str
    values: Mapping[tuple[tuple[str, str], ...], float]


def counter(name: str, help: str, values: Mapping[str, float], label: str) -> Metric:
    """A count for each value of one label."""
    return Metric(name, Kind.COUNTER, help, {((label, key),): value for key, value in values.items()})


def gauge(name: str, help: str, values: Mapping[str, float], label: str) -> Metric:
    """A level for each value of one label."""
    return Metric(name, Kind.GAUGE, help, {((label, key),): value for key, value in values.items()})


def single(name: str, kind: Kind, help: str, value: float) -> Metric:
    """A metric without labels."""
    return Metric(name, kind, help, {(): value})


def exposition(metrics: Iterable[Metric]) -> str:
    """Write metrics as they are scraped."""
    lines: list[str] = []
    for metric in metrics:
        lines += (f"# HELP {metric.name} {_help(metric.help)}", f"# TYPE {metric.name} {metric.kind}")
        for labels, value in metric.values.items():
            inside = ",".join(f'{name}="{_label(text)}"' for name, text in labels)
            lines.append(f"{metric.name}{{{inside}}} {_number(value)}" if inside else f"{metric.name} {_number(value)}")
    return "".join(f"{line}\n" for line in lines)


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _label(text: str) -> str:
    return _help(text).replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


class MetricsApi:
    """Gathers the metrics whenever somebody asks."""

    def __init__(self, measure: Callable[[], Iterable[Metric]]) -> None:
        self._measure = measure

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return (Route("GET", "/metrics", self.metrics),)

    async def metrics(self, request: web.Request) -> web.Response:
        """Give all metrics."""
        body = exposition(self._measure()).encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
