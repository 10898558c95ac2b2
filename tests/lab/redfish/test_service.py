"""The Redfish service: who may do what, what is shown, what a change does."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.lab.chassis import Lifetime, Mode, Override, Verb
from provisioner.lab.hardware import BootChoice, Firmware
from provisioner.lab.redfish.answer import Answer
from provisioner.lab.redfish.request import Request
from provisioner.lab.redfish.resources import SETTINGS_PATH, SYSTEM, V1
from provisioner.lab.redfish.service import Service
from provisioner.lab.redfish.sessions import SESSIONS, TIMEOUT_S
from provisioner.lab.redfish.tree import STATIC
from provisioner.model.bmc import BootTarget
from tests.lab.boards import PASSWORD, USER, Rig

RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
LOGIN = f"{V1}/SessionService/Sessions"
ACCOUNTS = f"{V1}/AccountService/Accounts"


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Client:
    """Asks one service, as the administrator unless told otherwise."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        tokens = itertools.count(1)
        self.service = Service(rig.board, lambda: f"token-{next(tokens)}")

    def ask(self, method: str, path: str, body: Any = None, *, now: float = 0.0, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()} or basic()
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.service.handle(Request(method, path, sent, data), now)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.ask("GET", path)
        assert answer.status == 200, path
        assert answer.body is not None
        return answer.body


def client(**rig: Any) -> Client:
    return Client(Rig(**rig))


def links(body: Any) -> set[str]:
    """Every path that a body points at."""
    if isinstance(body, list):
        return set().union(*map(links, body))
    if not isinstance(body, dict):
        return set()
    own = {body[name] for name in ("@odata.id", "Uri") if name in body}
    return own.union(*map(links, body.values()))


def test_every_link_leads_somewhere() -> None:
    rig = client()
    rig.rig.chassis.note("power on")
    seen: set[str] = set()
    todo = {V1}
    while todo:
        path = todo.pop()
        seen.add(path)
        found = {link.partition("#")[0].rstrip("/") for link in links(rig.get(path))}
        todo |= found - seen
    assert seen >= set(STATIC) - {SETTINGS_PATH}


def test_a_slash_at_the_end_makes_no_difference() -> None:
    assert client().get(f"{SYSTEM}/") == client().get(SYSTEM)


OPEN = ["/redfish", "/redfish/", V1, f"{V1}/", f"{V1}/odata", f"{V1}/$metadata"]


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_to_all(path: str) -> None:
    assert client().ask("GET", path, Host="x").status == 200


CLOSED = {
    "no credentials": {"Host": "x"},
    "a wrong password": basic(password="wrong"),
    "an unknown user": basic(user="nobody"),
    "a token that was never given": {"X-Auth-Token": "token-9"},
    "not base64": {"Authorization": "Basic %%%"},
    "another scheme": {"Authorization": "Bearer x"},
}


@pytest.mark.parametrize("headers", CLOSED.values(), ids=CLOSED.keys())
def test_closed(headers: dict[str, str]) -> None:
    answer = client().service.handle(Request("GET", SYSTEM, headers), 0.0)
    assert answer.status == 401
    assert "WWW-Authenticate" in answer.headers


def test_a_session_is_opened_used_and_closed() -> None:
    rig = client()
    opened = rig.ask("POST", LOGIN, {"UserName": USER, "Password": PASSWORD}, Host="x")
    token = opened.headers["X-Auth-Token"]
    assert (opened.status, opened.headers["Location"]) == (201, f"{LOGIN}/1")
    assert rig.ask("GET", SYSTEM, X_Auth_Token=token).status == 200
    assert rig.get(LOGIN)["Members"] == [{"@odata.id": f"{LOGIN}/1"}]
    assert rig.get(f"{LOGIN}/1")["UserName"] == USER
    assert rig.ask("DELETE", f"{LOGIN}/1", X_Auth_Token=token).status == 204
    assert rig.ask("GET", SYSTEM, X_Auth_Token=token).status == 401
    assert rig.ask("DELETE", f"{LOGIN}/1").status == 404


def test_a_wrong_login_is_refused() -> None:
    assert client().ask("POST", LOGIN, {"UserName": USER, "Password": "x"}, Host="x").status == 401


def test_a_session_times_out_when_it_is_not_used() -> None:
    rig = client()
    token = rig.ask("POST", LOGIN, {"UserName": USER, "Password": PASSWORD}).headers["X-Auth-Token"]
    assert rig.ask("GET", SYSTEM, now=TIMEOUT_S, X_Auth_Token=token).status == 200
    assert rig.ask("GET", SYSTEM, now=2 * TIMEOUT_S, X_Auth_Token=token).status == 200
    assert rig.ask("GET", SYSTEM, now=3 * TIMEOUT_S + 1, X_Auth_Token=token).status == 401


def test_one_session_too_many_is_refused() -> None:
    rig = client()
    answers = [rig.ask("POST", LOGIN, {"UserName": USER, "Password": PASSWORD}).status for _ in range(SESSIONS + 1)]
    assert answers == [201] * SESSIONS + [503]


def test_the_time_limit_can_be_set() -> None:
    rig = client()
    assert rig.ask("PATCH", f"{V1}/SessionService", {"SessionTimeout": 60}).status == 204
    assert rig.get(f"{V1}/SessionService")["SessionTimeout"] == 60
    assert rig.ask("PATCH", f"{V1}/SessionService", {"SessionTimeout": 5}).status == 400


VERBS = {
    "On": Verb.ON, "ForceOff": Verb.OFF, "GracefulShutdown": Verb.SOFT_OFF,
}  # fmt: skip


@pytest.mark.parametrize(("name", "verb"), VERBS.items(), ids=VERBS.keys())
def test_reset(name: str, verb: Verb) -> None:
    rig = client()
    assert rig.ask("POST", RESET, {"ResetType": name}).status == 204
    assert rig.rig.chassis.pending == [verb]


def test_all_that_is_offered_is_taken() -> None:
    rig = client()
    offered = rig.get(SYSTEM)["Actions"]["#ComputerSystem.Reset"]["ResetType@Redfish.AllowableValues"]
    rig.rig.chassis.request(Verb.ON)
    assert {rig.ask("POST", RESET, {"ResetType": name}).status for name in offered} == {204}


REFUSED_POSTS: dict[str, tuple[str, Any, int]] = {
    "a verb that is not offered": (RESET, {"ResetType": "GracefulRestart"}, 400),
    "a restart while off": (RESET, {"ResetType": "ForceRestart"}, 409),
    "a body that is no JSON": (RESET, b"{", 400),
    "a body that is no object": (RESET, [], 400),
    "a path that is not there": (f"{SYSTEM}/Actions/X", {}, 404),
    "a resource that takes no POST": (SYSTEM, {}, 405),
    "an account without a password": (ACCOUNTS, {"UserName": "x"}, 400),
    "an account that is there": (ACCOUNTS, {"UserName": USER, "Password": "x"}, 409),
    "an account with a role that is not there": (ACCOUNTS, {"UserName": "x", "Password": "x", "RoleId": "King"}, 400),
}


@pytest.mark.parametrize(("path", "body", "status"), REFUSED_POSTS.values(), ids=REFUSED_POSTS.keys())
def test_refused_posts(path: str, body: Any, status: int) -> None:
    answer = client().ask("POST", path, body)
    assert answer.status == status
    assert answer.body is not None
    assert answer.body["error"]["@Message.ExtendedInfo"]


def test_a_board_that_has_enough_to_do_says_so() -> None:
    rig = client()
    answers = [rig.ask("POST", RESET, {"ResetType": "On"}) for _ in range(17)]
    assert (answers[-1].status, answers[-1].headers["Retry-After"]) == (503, "2")


ONCE = {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}
URI = "http://10.77.0.1:8080/x.efi"
BOOTS = {
    "pxe once": (ONCE, Override(BootChoice(BootTarget.PXE), Lifetime.ONCE, Mode.UEFI)),
    "disk for ever": (
        {"BootSourceOverrideTarget": "Hdd", "BootSourceOverrideEnabled": "Continuous"},
        Override(BootChoice(BootTarget.DISK), Lifetime.CONTINUOUS, Mode.UEFI),
    ),
    "http with its URI": (
        {"BootSourceOverrideTarget": "UefiHttp", "BootSourceOverrideEnabled": "Once", "HttpBootUri": URI},
        Override(BootChoice(BootTarget.HTTP, URI), Lifetime.ONCE, Mode.UEFI),
    ),
    "none": (
        {"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Once"},
        Override(BootChoice(BootTarget.NONE), Lifetime.DISABLED, Mode.UEFI),
    ),
    "disabled": (
        ONCE | {"BootSourceOverrideEnabled": "Disabled"},
        Override(BootChoice(BootTarget.PXE), mode=Mode.UEFI),
    ),
}


@pytest.mark.parametrize(("boot", "override"), BOOTS.values(), ids=BOOTS.keys())
def test_boot_override(boot: dict[str, str], override: Override) -> None:
    rig = client()
    answer = rig.ask("PATCH", SYSTEM, {"Boot": boot})
    assert answer.status == 200
    assert rig.rig.chassis.override == override
    shown = rig.get(SYSTEM)["Boot"]
    if override.lifetime is not Lifetime.DISABLED:
        assert {key: shown[key] for key in boot} == boot


REFUSED_BOOTS = {
    "a target that does not exist": {"BootSourceOverrideTarget": "Tape"},
    "a target that this machine cannot boot": {"BootSourceOverrideTarget": "UefiHttp"},
    "a mode that this machine does not have": ONCE | {"BootSourceOverrideMode": "UEFI"},
    "a lifetime that does not exist": ONCE | {"BootSourceOverrideEnabled": "Twice"},
    "a key that does not exist": ONCE | {"BootOptions": []},
    "no object": "Pxe",
    "a URI of another kind": ONCE | {"HttpBootUri": "file:///etc/passwd"},
}


@pytest.mark.parametrize("boot", REFUSED_BOOTS.values(), ids=REFUSED_BOOTS.keys())
def test_refused_boot_overrides_change_nothing(boot: Any) -> None:
    rig = client(firmware=Firmware.BIOS, targets=frozenset({BootTarget.PXE, BootTarget.DISK, BootTarget.NONE}))
    assert rig.ask("PATCH", SYSTEM, {"LocationIndicatorActive": True, "Boot": boot}).status == 400
    assert rig.rig.chassis.override == Override()
    assert not rig.rig.board.locating


def test_locate_led() -> None:
    rig = client()
    rig.ask("PATCH", SYSTEM, {"LocationIndicatorActive": True})
    assert rig.get(SYSTEM)["IndicatorLED"] == "Blinking"
    rig.ask("PATCH", SYSTEM, {"IndicatorLED": "Off"})
    assert rig.get(SYSTEM)["LocationIndicatorActive"] is False


def test_a_change_with_an_old_etag_is_refused() -> None:
    rig = client()
    tag = rig.ask("GET", SYSTEM).headers["ETag"]
    assert rig.ask("GET", SYSTEM, If_None_Match=tag, **basic()).status == 304
    assert rig.ask("PATCH", SYSTEM, {"Boot": ONCE}, If_Match=tag, **basic()).status == 200
    assert rig.ask("PATCH", SYSTEM, {"Boot": ONCE}, If_Match=tag, **basic()).status == 412
    assert rig.ask("PATCH", SYSTEM, {"Boot": ONCE}, If_Match="*", **basic()).status == 200


def test_accounts_come_change_and_go() -> None:
    rig = client()
    made = rig.ask("POST", ACCOUNTS, {"UserName": "op", "Password": "op-1", "RoleId": "Operator"})
    path = made.headers["Location"]
    op = basic("op", "op-1")
    assert made.status == 201
    assert rig.get(path)["RoleId"] == "Operator"
    assert rig.get(path)["Password"] is None
    assert rig.ask("POST", RESET, {"ResetType": "On"}, **op).status == 204
    assert rig.ask("POST", ACCOUNTS, {"UserName": "x", "Password": "x"}, **op).status == 403
    assert rig.ask("PATCH", f"{ACCOUNTS}/2", {"Password": "x"}, **op).status == 403
    assert rig.ask("PATCH", path, {"Password": "op-2"}, **op).status == 200
    assert rig.ask("GET", SYSTEM, **op).status == 401
    assert rig.ask("PATCH", path, {"RoleId": "ReadOnly"}).status == 200
    assert rig.ask("POST", RESET, {"ResetType": "On"}, **basic("op", "op-2")).status == 403
    assert rig.ask("DELETE", path).status == 204
    assert rig.ask("GET", path).status == 404
    assert rig.rig.board.accounts.named("op") is None


def test_slots_run_out() -> None:
    rig = client()
    for number in range(8):
        assert rig.ask("POST", ACCOUNTS, {"UserName": f"u{number}", "Password": "x"}).status == 201
    assert rig.ask("POST", ACCOUNTS, {"UserName": "u9", "Password": "x"}).status == 400


def test_the_log_is_shown_and_cleared() -> None:
    rig = client()
    rig.rig.chassis.note("power on")
    entries = f"{V1}/Managers/1/LogServices/SEL/Entries"
    assert [entry["Message"] for entry in rig.get(entries)["Members"]] == ["power on"]
    assert rig.ask("POST", f"{V1}/Managers/1/LogServices/SEL/Actions/LogService.ClearLog").status == 204
    assert rig.get(entries)["Members"] == []


OTHERS = {
    "nothing there": ("GET", f"{V1}/Systems/2", 404),
    "a method that is not known": ("PUT", SYSTEM, 405),
    "a resource that cannot be changed": ("PATCH", f"{V1}/Chassis/1", 405),
    "a change to nothing": ("PATCH", f"{V1}/Systems/2", 404),
    "a resource that cannot be deleted": ("DELETE", SYSTEM, 405),
    "an action cannot be read": ("GET", RESET, 405),
    "a NIC that is not there": ("GET", f"{SYSTEM}/EthernetInterfaces/9", 404),
    "an account that is not there": ("GET", f"{ACCOUNTS}/x", 404),
}


@pytest.mark.parametrize(("method", "path", "status"), OTHERS.values(), ids=OTHERS.keys())
def test_other_requests(method: str, path: str, status: int) -> None:
    assert client().ask(method, path, {}).status == status


@pytest.mark.slow
@hypothesis.given(
    st.sampled_from(["GET", "PATCH", "POST", "DELETE"]),
    st.sampled_from([*sorted(STATIC), RESET, LOGIN, f"{ACCOUNTS}/2"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)
    ),
)
def test_any_body_is_answered(method: str, path: str, body: Any) -> None:
    assert 200 <= client().ask(method, path, body).status < 600
