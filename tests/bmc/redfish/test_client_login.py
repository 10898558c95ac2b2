"""How a client logs in: a session, or Basic where there is none; what is ended, and what is sent once. Real sockets."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from provisioner.bmc.redfish.client import ROOT, RedfishClient
from provisioner.errors import BmcAuthError, BmcError, BmcPrivilegeError
from tests.bmc.redfish.service import (
    PASSWORD,
    SESSIONS,
    SYSTEM,
    USER,
    Script,
    Service,
    complains,
    says,
)


async def test_one_session_is_opened_kept_and_ended(service: Service, client: RedfishClient) -> None:
    for _ in range(3):
        assert (await client.get(SYSTEM)).text("Model") == "A1"
    assert service.asked.count(f"POST {SESSIONS}") == 1
    assert len(service.sessions) == 1
    await client.close()
    assert service.sessions == {}


OLD_SESSIONS: dict[str, tuple[bool, dict[str, str], bool]] = {
    # of a session by this account or another one, while no other is free: is it ended?
    "of an earlier run": (True, {"UserName": USER}, True),
    "of an earlier run, by its kind": (True, {"UserName": USER, "SessionType": "Redfish"}, True),
    "of a person at the BMC's own pages": (True, {"UserName": USER, "SessionType": "WebUI"}, False),
    "of a person at the screen": (True, {"UserName": USER, "SessionType": "KVMIP"}, False),
    "of somebody else": (True, {"UserName": "somebody"}, False),
    "of an account that others use, too": (False, {"UserName": USER}, False),
}


@pytest.mark.parametrize(("own", "session", "is_ended"), OLD_SESSIONS.values(), ids=OLD_SESSIONS.keys())
async def test_a_session_that_is_ended_where_none_is_free(
    service: Service, own: bool, session: dict[str, str], is_ended: bool
) -> None:
    service.max_sessions = 2
    service.sessions |= {"7": "old7", "8": "old8"}
    service.resources[f"{SESSIONS}/7"] = {"UserName": "somebody"}
    service.resources[f"{SESSIONS}/8"] = session
    async with RedfishClient(service.address, PASSWORD, own=own) as client:
        assert (await client.get(SYSTEM)).text("Model") == "A1", "by Basic at least"
    assert sorted(service.sessions) == (["7"] if is_ended else ["7", "8"])


async def test_no_session_is_ended_while_one_is_free(service: Service) -> None:
    service.sessions["7"] = "old7"
    service.resources[f"{SESSIONS}/7"] = {"UserName": USER}
    async with RedfishClient(service.address, PASSWORD, own=True) as client:
        await client.get(SYSTEM)
    assert sorted(service.sessions) == ["7"]
    assert f"GET {SESSIONS}" not in service.asked


LOCATIONS = {
    # how a service says where a new session is (RFC 9110 section 10.2.2)
    "by its path": f"{SESSIONS}/s1",
    "by an address, as iLO does": f"https://127.0.0.1{SESSIONS}/s1",
    "by a name that nobody else knows": f"https://ilo17.example{SESSIONS}/s1",
    "not at all": "",
    "by nonsense": "https://[/",
}


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS.keys())
async def test_a_session_is_ended_wherever_it_is_said_to_be(service: Service, location: str) -> None:
    async def opens(request: web.Request) -> web.StreamResponse:
        service.sessions["s1"] = "token"
        headers = {"X-Auth-Token": "token"} | ({"Location": location} if location else {})
        return web.json_response({"@odata.id": f"{SESSIONS}/s1"}, status=201, headers=headers)

    service.next(f"POST {SESSIONS}", opens)
    async with RedfishClient(service.address, PASSWORD) as client:
        await client.get(SYSTEM)
    assert service.sessions == {}


async def test_a_lost_session_is_opened_again_also_for_a_change(service: Service, client: RedfishClient) -> None:
    await client.get(SYSTEM)
    service.sessions.clear()
    await client.send("PATCH", SYSTEM, {"AssetTag": "x"})
    service.sessions.clear()
    assert (await client.get(SYSTEM)).text("AssetTag") == "x"


async def test_a_board_without_sessions_is_asked_by_basic(service: Service, client: RedfishClient) -> None:
    service.has_sessions = False
    assert (await client.get(SYSTEM)).text("Model") == "A1"
    await client.get(SYSTEM)
    assert service.asked.count(f"POST {SESSIONS}") == 1


NAMES_BASIC = says(401, b"{}", WWW_Authenticate='Basic realm="RedfishService"')
"""What iDRAC answers to each login that it refuses, and boards without sessions to each request without a login."""


async def test_a_board_that_asks_for_basic_everywhere_and_names_no_sessions(
    service: Service, client: RedfishClient
) -> None:
    service.next(f"POST {SESSIONS}", NAMES_BASIC)
    assert (await client.get(SYSTEM)).text("Model") == "A1"


WITH_SESSIONS = {
    "a service of sessions": {"SessionService": {"@odata.id": "/redfish/v1/SessionService"}},
    "a list of sessions": {"Links": {"Sessions": {"@odata.id": SESSIONS}}},
}


@pytest.mark.parametrize("root", WITH_SESSIONS.values(), ids=WITH_SESSIONS.keys())
async def test_a_password_that_is_refused_with_a_word_of_basic_is_sent_once(
    service: Service, client: RedfishClient, root: dict[str, object]
) -> None:
    service.next(f"POST {SESSIONS}", NAMES_BASIC)
    service.next(f"GET {ROOT}", says(200, json.dumps(root).encode()))
    with pytest.raises(BmcAuthError, match="login: HTTP 401"):
        await client.get(SYSTEM)
    assert service.asked == [f"POST {SESSIONS}", f"GET {ROOT}"], "each time that it is sent counts"
    assert "Authorization" not in service.headers[1]


@pytest.mark.parametrize(("own", "asked"), [(False, f"GET {SYSTEM}"), (True, f"GET {SESSIONS}")])
async def test_a_password_that_basic_refuses_is_sent_once_more_by_the_next_request(
    service: Service, own: bool, asked: str
) -> None:
    service.next(f"POST {SESSIONS}", complains(503))
    service.next(asked, NAMES_BASIC)
    async with RedfishClient(service.address, PASSWORD, own=own) as client:
        with pytest.raises(BmcAuthError, match="HTTP 401"):
            await client.get(SYSTEM)
        assert service.asked == [f"POST {SESSIONS}", asked]
        assert (await client.get(SYSTEM)).text("Model") == "A1"
        assert len(service.sessions) == 1, "by a session, now that one is free"


async def test_a_wrong_password_is_said_once_and_never_shown(service: Service) -> None:
    async with RedfishClient(service.address, "hunter2") as stranger:
        with pytest.raises(BmcAuthError) as caught:
            await stranger.get(SYSTEM)
    assert "HTTP 401" in caught.value.message
    assert "hunter2" not in str(caught.value), "the service echoed it"
    assert "***" in caught.value.message
    assert service.asked.count(f"POST {SESSIONS}") == 1


LOGINS: dict[str, tuple[Script, type[BmcError], str]] = {
    # what a service answers to a login that it refuses; the first is iLO's answer to a wrong password
    "400 in words of its own": (complains(400, "iLO.0.10.UnauthorizedLoginAttempt"), BmcAuthError, "user and password"),
    "400 without a word": (says(400, b""), BmcAuthError, "HTTP 400"),
    "400, since the account may not": (complains(400, "Base.1.8.InsufficientPrivilege"), BmcPrivilegeError, "HTTP 400"),
    "403 without a word": (says(403, b""), BmcPrivilegeError, "HTTP 403"),
    "403, since the password is the first one": (
        complains(403, "Base.1.8.PasswordChangeRequired"),
        BmcAuthError,
        "wants its password changed",
    ),
}


@pytest.mark.parametrize(("script", "kind", "said"), LOGINS.values(), ids=LOGINS.keys())
async def test_a_login_that_is_refused(
    service: Service, client: RedfishClient, script: Script, kind: type[BmcError], said: str
) -> None:
    service.next(f"POST {SESSIONS}", script)
    with pytest.raises(BmcError, match=said) as caught:
        await client.get(SYSTEM)
    assert type(caught.value) is kind
    assert service.asked == [f"POST {SESSIONS}"], "nor is it asked by another way: that counts, too"


ALL_TAKEN: dict[str, Script] = {
    # what a service answers to a login while all of its sessions are taken
    "503": says(503, b""),
    "503 in the words of the standard": complains(503, "Base.1.8.SessionLimitExceeded"),
    "400 in the words of the standard": complains(400, "Base.1.8.CreateLimitReachedForResource"),
}


@pytest.mark.parametrize("script", ALL_TAKEN.values(), ids=ALL_TAKEN.keys())
async def test_where_no_session_is_free_ours_are_ended_and_basic_goes_on(service: Service, script: Script) -> None:
    service.sessions["7"] = "old7"
    service.resources[f"{SESSIONS}/7"] = {"UserName": USER}
    service.next(f"POST {SESSIONS}", script)
    async with RedfishClient(service.address, PASSWORD, own=True) as client:
        assert (await client.get(SYSTEM)).text("Model") == "A1"
    assert service.sessions == {}
