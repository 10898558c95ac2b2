"""What the firmware can be told, and firmware itself: Bios, SecureBoot, UpdateService (DSP0268). No I/O."""

from __future__ import annotations

from provisioner.lab.board import Board
from provisioner.lab.redfish.answer import Answer, Body, Refusal
from provisioner.lab.redfish.media import begun
from provisioner.lab.redfish.resources import STATUS, SYSTEM, V1, collection, link, resource

BIOS = f"{SYSTEM}/Bios"
BIOS_SETTINGS = f"{BIOS}/Settings"
REGISTRIES = f"{V1}/Registries"
REGISTRY = f"{REGISTRIES}/BiosAttributes.1.0"
SECURE_BOOT = f"{SYSTEM}/SecureBoot"
DATABASES = f"{SECURE_BOOT}/SecureBootDatabases"
UPDATE = f"{V1}/UpdateService"
INVENTORY = f"{UPDATE}/FirmwareInventory"
PUSH = f"{UPDATE}/upload"
SIMPLE_UPDATE = f"{UPDATE}/Actions/UpdateService.SimpleUpdate"
RESET_KEYS = f"{SECURE_BOOT}/Actions/SecureBoot.ResetKeys"
RESET_BIOS = f"{BIOS}/Actions/Bios.ResetBios"
KINDS = {"ResetAllKeysToDefault": True, "DeleteAllKeys": False}

ATTRIBUTES: tuple[Body, ...] = (
    {"AttributeName": "BootMode", "Type": "Enumeration", "Value": [{"ValueName": "Uefi"}, {"ValueName": "Bios"}]},
    {"AttributeName": "SriovGlobalEnable", "Type": "Enumeration",
     "Value": [{"ValueName": "Enabled"}, {"ValueName": "Disabled"}]},
    {"AttributeName": "PxeRetries", "Type": "Integer", "LowerBound": 0, "UpperBound": 10},
    {"AttributeName": "AssetTag", "Type": "String", "MaxLength": 16},
    {"AttributeName": "SystemMemory", "Type": "String", "ReadOnly": True},
)  # fmt: skip


def bios(board: Board) -> Body:
    """The settings in force."""
    settings = {
        "@odata.type": "#Settings.v1_3_5.Settings",
        "SettingsObject": link(BIOS_SETTINGS),
        "SupportedApplyTimes": ["OnReset"],
    }
    return resource(
        BIOS, "Bios.v1_2_0.Bios", "BIOS settings",
        AttributeRegistry="BiosAttributes.1.0", Attributes=dict(board.settings.bios_now(board.chassis.boots)),
        Actions={"#Bios.ResetBios": {"target": RESET_BIOS}},
    ) | {"@Redfish.Settings": settings}  # fmt: skip


def bios_settings(board: Board) -> Body:
    """The settings from the next boot on."""
    waiting = {**board.settings.bios_now(board.chassis.boots), **board.settings.bios_waiting}
    rest = {"AttributeRegistry": "BiosAttributes.1.0", "Attributes": waiting}
    return resource(BIOS_SETTINGS, "Bios.v1_2_0.Bios", "BIOS settings, pending", **rest)


def patch_bios(board: Board, body: Body) -> Answer:
    """Have attributes used from the next boot on."""
    wanted = body.get("Attributes")
    if not isinstance(wanted, dict):
        raise Refusal(400, "PropertyMissing", "Attributes is needed.")
    for name, value in wanted.items():
        known = next((one for one in ATTRIBUTES if one["AttributeName"] == name), None)
        if known is None or known.get("ReadOnly"):
            raise Refusal(400, "PropertyUnknown", f"The attribute {name} is not known or cannot be changed.")
        if "Value" in known and value not in [one["ValueName"] for one in known["Value"]]:
            raise Refusal(400, "PropertyValueNotInList", f"The value {value!r} of {name} is not in the list.")
    board.settings.want_bios(wanted, board.chassis.boots)
    return Answer(200, bios_settings(board))


def reset_bios(board: Board, body: Body) -> Answer:
    board.settings.reset_bios(board.chassis.boots)
    return Answer(204)


def registries(board: Board) -> Body:
    return collection(REGISTRIES, "MessageRegistryFile", ["BiosAttributes.1.0"])


def registry_file(board: Board) -> Body:
    where = {"Language": "en", "Uri": f"{REGISTRY}/BiosAttributes.json"}
    rest = {"Languages": ["en"], "Registry": "BiosAttributes.1.0", "Location": [where]}
    return resource(REGISTRY, "MessageRegistryFile.v1_1_3.MessageRegistryFile", "BIOS attributes", **rest)


def registry(board: Board) -> Body:
    path = f"{REGISTRY}/BiosAttributes.json"
    kind = "AttributeRegistry.v1_3_6.AttributeRegistry"
    rest = {"Language": "en", "OwningEntity": "Provisioner", "RegistryVersion": "1.0.0"}
    return resource(path, kind, "BIOS attributes", **rest, RegistryEntries={"Attributes": list(ATTRIBUTES)})


def secure_boot(board: Board) -> Body:
    settings = board.settings
    return resource(
        SECURE_BOOT, "SecureBoot.v1_1_0.SecureBoot", "UEFI Secure Boot",
        SecureBootEnable=settings.secure_boot, SecureBootMode="UserMode" if settings.keys["PK"] else "SetupMode",
        SecureBootCurrentBoot="Enabled" if settings.secure_boot and settings.keys["PK"] else "Disabled",
        SecureBootDatabases=link(DATABASES),
        Actions={"#SecureBoot.ResetKeys": {"target": RESET_KEYS, "ResetKeysType@Redfish.AllowableValues": list(KINDS)}},
    )  # fmt: skip


def patch_secure_boot(board: Board, body: Body) -> Answer:
    wanted = body.get("SecureBootEnable")
    if set(body) != {"SecureBootEnable"} or not isinstance(wanted, bool):
        raise Refusal(400, "PropertyUnknown", "SecureBootEnable is true or false; nothing else can be changed.")
    board.settings.secure_boot = wanted
    return Answer(200, secure_boot(board))


def reset_keys(board: Board, body: Body) -> Answer:
    kind = body.get("ResetKeysType")
    if kind not in KINDS:
        raise Refusal(400, "ActionParameterValueNotInList", f"ResetKeysType is one of {', '.join(KINDS)}.")
    board.settings.reset_keys(factory=KINDS[kind])
    return Answer(204)


def databases(board: Board) -> Body:
    return collection(DATABASES, "SecureBootDatabase", list(board.settings.keys))


def database(board: Board, name: str) -> Body | None:
    if name not in board.settings.keys:
        return None
    path = f"{DATABASES}/{name}"
    rest = {"DatabaseId": name, "Certificates": link(f"{path}/Certificates")}
    return resource(path, "SecureBootDatabase.v1_0_2.SecureBootDatabase", f"Secure Boot {name}", **rest)


def key_path(path: str) -> tuple[str, str] | None:
    """Take a path below the databases apart: (database, number); the number is empty for the collection."""
    head, _, rest = path.removeprefix(f"{DATABASES}/").partition("/")
    kind, _, number = rest.partition("/")
    return (head, number) if path.startswith(f"{DATABASES}/") and kind == "Certificates" else None


def keys(board: Board, path: str) -> Body | None:
    """The certificates of a database, or one of them."""
    found = key_path(path)
    if found is None or (held := board.settings.keys.get(found[0])) is None:
        return None
    name, number = found
    if not number:
        return collection(path, "Certificate", list(held))
    if number not in held:
        return None
    rest = {"CertificateString": held[number], "CertificateType": "PEM"}
    return resource(path, "Certificate.v1_7_0.Certificate", f"Key of {name}", **rest)


def add_key(board: Board, path: str, body: Body) -> Answer:
    """A POST to the certificates of a database."""
    pem = body.get("CertificateString")
    if not isinstance(pem, str) or "BEGIN CERTIFICATE" not in pem or body.get("CertificateType") != "PEM":
        raise Refusal(400, "PropertyValueFormatError", "CertificateString is a certificate in PEM.")
    found = key_path(path)
    assert found is not None
    number = board.settings.add_key(found[0], pem)
    return Answer(201, keys(board, f"{path}/{number}"), {"Location": f"{path}/{number}"})


def delete_key(board: Board, path: str) -> Answer:
    found = key_path(path)
    assert found is not None
    del board.settings.keys[found[0]][found[1]]
    return Answer(204)


def update_service(board: Board) -> Body:
    action = {"target": SIMPLE_UPDATE, "TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"]}
    return resource(
        UPDATE, "UpdateService.v1_14_0.UpdateService", "Updates",
        ServiceEnabled=True, FirmwareInventory=link(INVENTORY), MultipartHttpPushUri=PUSH, Status=STATUS,
        Actions={"#UpdateService.SimpleUpdate": action},
    )  # fmt: skip


def inventory(board: Board) -> Body:
    return collection(INVENTORY, "SoftwareInventory", list(board.settings.firmware))


def component(board: Board, name: str) -> Body | None:
    version = board.settings.firmware.get(name)
    if version is None:
        return None
    rest = {"Version": version, "Updateable": True, "Status": STATUS}
    return resource(f"{INVENTORY}/{name}", "SoftwareInventory.v1_10_0.SoftwareInventory", name, **rest)


def simple_update(board: Board, body: Body) -> Answer:
    """SimpleUpdate: the board fetches an image. What it is shows in its name: COMPONENT-VERSION.bin."""
    uri = body.get("ImageURI")
    if not isinstance(uri, str) or not uri.startswith(("http://", "https://")):
        raise Refusal(400, "ActionParameterValueFormatError", "ImageURI is the URL of an image, by http or https.")
    return _install(board, uri.rsplit("/", 1)[-1])


def push(board: Board, body: Body) -> Answer:
    """A multipart push (DSP0266 section 14.6): the parameters, then the image."""
    if not body.get("UpdateFile") or "UpdateParameters" not in body:
        raise Refusal(400, "PropertyMissing", "UpdateParameters and UpdateFile are needed.")
    return _install(board, str(body["UpdateFile"]))


def _install(board: Board, image: str) -> Answer:
    name, _, version = image.rpartition(".")[0].partition("-")
    fits = name in board.settings.firmware and bool(version)
    if fits:
        board.settings.firmware[name] = version
    return begun(board, "" if fits else f"The image {image[:60]} is for no component of this machine.")
