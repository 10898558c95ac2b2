"""Every error of ours has a status, and what it says reaches the client."""

from __future__ import annotations

import pytest

from provisioner import errors
from provisioner.web.problems import STATUS, plain_problem, problem_of


def tree(cls: type[errors.ProvisionerError]) -> list[type[errors.ProvisionerError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in tree(child))]


def test_every_error_is_in_the_table() -> None:
    ours = {cls for cls in tree(errors.ProvisionerError) if cls.__module__ == errors.__name__}
    assert ours <= STATUS.keys()


CASES = {
    "no such machine": (errors.NotFoundError("no node17", hint="did you mean node18?"), 404, "not-found"),
    "a ticket answers as if there were nothing": (errors.TicketError("used"), 404, "not-found"),
    "state": (errors.ConflictError("node17 is deploying"), 409, "conflict"),
    "input": (errors.WireError("body: unknown key"), 400, "bad-request"),
    "BMC password": (errors.BmcAuthError("refused"), 502, "bmc-auth"),
    "BMC silent": (errors.BmcUnreachable("no answer"), 504, "bmc-unreachable"),
    "full disk": (errors.StoreError("cannot commit"), 503, "store"),
}


@pytest.mark.parametrize(("error", "status", "name"), CASES.values(), ids=CASES.keys())
def test_problem_of(error: errors.ProvisionerError, status: int, name: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.type) == (status, f"urn:problem:provisioner:{name}")
    assert (problem.detail, problem.hint) == (error.message, error.hint)


def test_an_error_made_elsewhere_answers_as_its_nearest_ancestor() -> None:
    class BmcFuseBlown(errors.BmcUnreachable):
        """Made by a driver."""

    assert problem_of(BmcFuseBlown("gone")).status == 504


@pytest.mark.parametrize("kind", [errors.PreflightError, errors.ConflictError, errors.ConfigError])
def test_faults_are_a_list_and_not_in_the_detail(kind: type[errors.ProvisionerError]) -> None:
    problem = problem_of(kind("refused", faults=["kernel is missing", "no BMC"]))
    assert (problem.detail, problem.faults) == ("refused", ("kernel is missing", "no BMC"))


def test_a_busy_bmc_says_when_to_come_back() -> None:
    assert problem_of(errors.BmcBusy("updating", retry_after_s=30)).retry_after_s == 30


def test_plain_problem_is_named_after_its_status() -> None:
    assert plain_problem(405, "no").type == "urn:problem:provisioner:method-not-allowed"
