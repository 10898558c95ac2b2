"""What a command ends with: the same whether the daemon said it, or this process found out itself."""

from __future__ import annotations

import pytest

from provisioner import errors
from provisioner.cli.exits import ApiProblem, Exit, Forbidden, exit_of
from provisioner.web.problems import problem_of

HERE_AND_THERE = {
    "a BMC that refuses the password": (errors.BmcAuthError("refused"), Exit.FAILED),
    "a BMC that does not answer": (errors.BmcUnreachable("no answer"), Exit.FAILED),
    "no such thing": (errors.NotFoundError("no machine"), Exit.NOT_FOUND),
    "a state that stands against it": (errors.ConflictError("busy"), Exit.CONFLICT),
}


@pytest.mark.parametrize(("error", "status"), HERE_AND_THERE.values(), ids=HERE_AND_THERE.keys())
def test_an_error_ends_a_command_alike_wherever_it_arose(error: errors.ProvisionerError, status: Exit) -> None:
    assert exit_of(error) == exit_of(ApiProblem(problem_of(error).status, error.message)) == status


def test_not_allowed_is_who_may_not_open_the_socket() -> None:
    assert exit_of(Forbidden("not yours")) == Exit.AUTH
