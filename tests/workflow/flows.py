"""Workflows and runs for tests: from YAML, and driven by hand."""

from __future__ import annotations

from dataclasses import replace

from provisioner import yamlfile
from provisioner.errors import CatalogError
from provisioner.fields import Faults
from provisioner.model.workflow import FlowMember, FlowRun, FlowStep
from provisioner.workflow.decode import Workflow, decode_workflow

NOW = 1_000_000.0
HEAD = "name: test\ntitle: a test\ngoal: [test.done]\n"


def flow(text: str, head: str = HEAD) -> Workflow:
    """Read a workflow; raise `CatalogError` with its faults."""
    faults = Faults(CatalogError)
    found = decode_workflow(yamlfile.load(head + text, "test.yaml"), faults)
    faults.check("workflow")
    return found


def faults_of(text: str, head: str = HEAD) -> list[str]:
    """Say what is wrong with a workflow."""
    try:
        flow(text, head)
    except CatalogError as error:
        return list(error.faults)
    return []


def run_of(*steps: FlowStep, machines: int = 1, **settings: object) -> FlowRun:
    """Make a run of these steps, all in every plan but those that are a handler."""
    handlers = {step.handler for step in steps}
    plan = tuple(step.name for step in steps if step.name not in handlers)
    members = tuple(FlowMember(f"m{at}", f"node{at}", plan, plan) for at in range(1, machines + 1))
    run = FlowRun("20260101-000000-abcdef", "test", {step.name: step for step in steps}, members=members)
    return replace(run, **({"limit": NOW + 86400, "created": NOW} | settings))
