"""What `ps --format` can show of a container: Podman's field names in JSON, Podman's and Docker's in templates."""

from __future__ import annotations

from remora.frontend.commands import ps
from remora.frontend.container import state as states
from remora.frontend.output import rows as output
from remora.frontend.output import text
from remora.frontend.output.template.values import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.commands.ps import Row
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

NEVER = -62135596800  # Go's zero time in seconds
HEADINGS = {
    "ID": "CONTAINER ID",
    "Id": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "Created": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedHuman": "CREATED",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "Pid": "PID",
    "ImageID": "IMAGE ID",
    "ExitCode": "EXIT CODE",
    "Restarts": "RESTARTS",
}


def as_json(settings: Settings, rows: Sequence[Row], now: int, size: bool) -> str:
    """The list as indented JSON."""
    from json import dumps

    return dumps([_object(settings, row, now, size) for row in rows], indent=2, ensure_ascii=False) + "\n"


def _seconds(ns: int) -> int:
    return ns // text.NS if ns else NEVER


def _object(settings: Settings, row: Row, now: int, size: bool) -> dict[str, object]:
    record, state, spec = row.record, row.state, row.record.spec
    image = spec["image"]
    own = ps.written(record) if size else 0
    return {
        "AutoRemove": spec["remove"],
        "Command": spec["args"],
        "CreatedAt": text.ago(spec["created_ns"], now),
        "Exited": state.status == states.EXITED,
        "ExitedAt": _seconds(state.finished_ns),
        "ExitCode": state.exit_code if state.exit_code is not None or not state.known else 0,
        "Id": record.id,
        "Image": ps.image_name(record),
        "ImageID": image["id"] if image else "",
        "IsInfra": False,
        "Labels": spec["labels"] or None,
        "Mounts": [mount["target"] for mount in spec["mounts"]],
        "Names": [record.name],
        "Namespaces": {},
        "Networks": networks(record),
        "Pid": state.pid,
        "Pod": "",
        "PodName": "",
        "Ports": [
            {
                "host_ip": port["host_ip"],
                "container_port": port["container_port"],
                "host_port": port["host_port"],
                "range": port["range"],
                "protocol": port["protocol"],
            }
            for port in ps.ports(settings, record)
        ]
        or None,
        "Restarts": state.restarts,
        "Size": {"rootFsSize": ps.image_size(settings, record) + own, "rwSize": own} if size else None,
        "StartedAt": _seconds(state.started_ns),
        "State": state.status,
        "Status": ps.status(state, now),
        "Created": spec["created_ns"] // text.NS,
    }


def networks(record: ContainerRecord) -> list[str]:
    """The names of its networks; the mode where it has none of ours."""
    spec = record.spec
    return [use["name"] for use in spec["networks"]] or ([] if spec["network"] == "none" else [spec["network"]])


def through_template(
    settings: Settings, rows: Sequence[Row], now: int, form: str, whole: bool, size: bool, heading: bool
) -> str:
    """Each row through a Go template."""
    needs_size = size or ".Size" in form
    fields = [_fields(settings, row, now, whole, needs_size) for row in rows]
    return output.render(form, fields, HEADINGS, heading)


def _fields(settings: Settings, row: Row, now: int, whole: bool, size: bool) -> dict[str, object]:
    record, state, spec = row.record, row.state, row.record.spec
    image = spec["image"]
    image_id = image["id"] if image else ""
    labels = Map(spec["labels"])
    shown = record.id if whole else record.id[:12]
    age = text.ago(spec["created_ns"], now)

    def label(key: object) -> str:
        return spec["labels"].get(str(key), "")

    return {
        "ID": shown,
        "Id": record.id,
        "Image": text.visible(ps.image_name(record)),
        "Command": ps.command(record, whole),
        "CreatedAt": text.moment(spec["created_ns"]),
        "CreatedHuman": age,
        "Created": text.moment(spec["created_ns"]),
        "RunningFor": age,
        "Status": ps.status(state, now),
        "State": state.status,
        "Ports": ps.ports_text(settings, record),
        "Names": record.name,
        "Labels": labels,
        "Label": label,
        "Mounts": ",".join(mount["target"] for mount in spec["mounts"]),
        "Networks": ",".join(networks(record)),
        "Pid": state.pid,
        "ImageID": image_id if whole else image_id[:12],
        "ExitCode": state.exit_code if state.exit_code is not None or not state.known else 0,
        "Exited": state.status == states.EXITED,
        "ExitedAt": text.moment(state.finished_ns),
        "StartedAt": text.moment(state.started_ns),
        "Restarts": state.restarts,
        "Size": ps.size_text(settings, record) if size else "",
        "AutoRemove": spec["remove"],
        "LocalVolumes": 0,
        "Pod": "",
        "PodName": "",
    }
