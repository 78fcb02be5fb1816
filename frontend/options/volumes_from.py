"""`--volumes-from CONTAINER[:OPTIONS]`: the volumes and bind mounts of another container."""

from __future__ import annotations

from remora.frontend.container import record as records
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Mount
    from remora.frontend.settings import Settings

ACCESS = ("ro", "rw")
LABELS = ("z", "Z")


def read(settings: Settings, texts: Sequence[str], given: Sequence[Mount]) -> list[Mount]:
    """The mounts, but for those whose target is among the given ones.

    Raises NoSuchContainer, RemoraError for an unknown option.
    """
    taken = {item["target"] for item in given}
    found: list[Mount] = []
    for text in texts:
        name, colon, rest = text.partition(":")
        words = rest.split(",") if colon else []
        for word in words:
            if word not in ACCESS + LABELS:
                raise RemoraError(f'--volumes-from {text}: unknown option "{word}"', hint="options are ro, rw and z")
        if set(ACCESS) <= set(words):
            raise RemoraError(f"--volumes-from {text}: ro and rw exclude each other", hint="leave out one of them")
        record = records.find(settings, name)
        for item in record.spec["mounts"]:
            if item["type"] == "tmpfs" or item["target"] in taken:
                continue
            taken.add(item["target"])
            # What was changed or copied once is not to be so again for somebody else.
            options = [word for word in item["options"] if word != "U" and not (word in ACCESS and "ro" in words)]
            options += ["ro"] if "ro" in words else []
            found.append({"type": item["type"], "source": item["source"], "target": item["target"], "options": options})
    return found
