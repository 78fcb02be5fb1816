"""Log drivers and their options on real containers, and what `inspect` tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Remora

LINES = "i=0; while [ $i -lt 2000 ]; do echo line $i of 2000; i=$((i+1)); done"


def inspected(remora: Remora, name: str) -> Any:
    return json.loads(remora("inspect", name))[0]


def test_inspect_tells_the_log_as_podman_and_docker_do(remora: Remora) -> None:
    remora("create", "--name", "plain", "busybox", "true")
    assert inspected(remora, "plain")["HostConfig"]["LogConfig"] == {
        "Type": "k8s-file",
        "Config": None,
        "Path": f"{remora.root}/containers/{remora('inspect', '-f', '{{.Id}}', 'plain')}/log",
        "Tag": "",
        "Size": "0B",
    }
    options = "max-size=1m,max-file=3,tag={{.Name}},labels=a,rate=2k,stderr-mode=drop"
    remora("create", "--name", "rich", "--log-driver", "json-file", "--log-opt", options, "busybox", "true")
    found = inspected(remora, "rich")
    assert found["LogPath"] == f"{remora.root}/containers/{found['Id']}/{found['Id']}-json.log"
    assert found["HostConfig"]["LogConfig"] == {
        "Type": "json-file",
        "Config": {
            "max-size": "1048576",
            "max-file": "3",
            "tag": "{{.Name}}",
            "labels": "a",
            "stdout-mode": "rate",
            "rate": "2048",
            "stderr-mode": "drop",
        },
        "Path": found["LogPath"],
        "Tag": "{{.Name}}",
        "Size": "1048576B",
    }
    remora("create", "--name", "journal", "--log-driver", "journald", "busybox", "true")
    assert (inspected(remora, "journal")["LogPath"]) == ""


@pytest.mark.parametrize("driver", ["k8s-file", "json-file"])
def test_a_full_file_makes_room_for_a_new_one_and_logs_show_them_all(remora: Remora, driver: str) -> None:
    options = ("--log-driver", driver, "--log-opt", "max-size=64k,max-file=20")
    remora("run", "--name", "talks", *options, "busybox", "sh", "-c", LINES)
    path = Path(str(inspected(remora, "talks")["LogPath"]))
    older = sorted(path.parent.glob(f"{path.name}.*"))
    assert older and all(file.stat().st_size <= 64 << 10 for file in [path, *older])
    assert remora("logs", "talks").split("\n") == [f"line {number} of 2000" for number in range(2000)]
    assert remora("logs", "--tail", "1500", "talks").split("\n") == [f"line {n} of 2000" for n in range(500, 2000)]


def test_json_file_is_in_dockers_format_with_tag_and_labels(remora: Remora) -> None:
    options = ("--log-driver", "json-file", "--log-opt", "tag={{.Name}}", "--log-opt", "labels=tier,site=here")
    remora("run", "--name", "web", "-l", "tier=front", *options, "busybox", "sh", "-c", "echo '<a>'; printf b >&2")
    text = Path(str(inspected(remora, "web")["LogPath"])).read_text()
    records = sorted((json.loads(line) for line in text.splitlines()), key=lambda record: str(record["log"]))
    assert [(record["log"], record["stream"]) for record in records] == [("<a>\n", "stdout"), ("b", "stderr")]
    for record in records:
        assert record["attrs"] == {"tag": "web", "tier": "front", "site": "here"}
        assert record["time"].endswith("Z")
    assert "\\u003ca\\u003e" in text


def test_two_files_at_once_hold_the_same(remora: Remora) -> None:
    remora(
        *("run", "--name", "both", "--log-driver", "k8s-file", "--log-driver", "json-file"),
        *("busybox", "sh", "-c", "seq 1 100"),
    )
    folder = Path(str(inspected(remora, "both")["LogPath"])).parent
    (made,) = folder.glob("*-json.log")
    texts = "".join(json.loads(line)["log"] for line in made.read_text().splitlines())
    assert texts.split() == remora("logs", "both").split() == [str(number) for number in range(1, 101)]
    counters = inspected(remora, "both")["State"]
    assert (counters["LogBytes"], counters["LogDropped"]) == (len(texts), 0)


def test_output_above_the_rate_is_dropped_counted_and_told(remora: Remora) -> None:
    script = "dd if=/dev/zero bs=1k count=512 2>/dev/null | tr '\\0' x; echo; echo end >&2"
    result = remora.run("run", "--name", "floods", "--log-opt", "rate=4k", "busybox", "sh", "-c", script)
    assert len(result.stdout) == 512 * 1024 + 1  # who is attached gets all of it
    state = inspected(remora, "floods")["State"]
    dropped, written = state["LogDropped"], state["LogBytes"]
    assert isinstance(dropped, int) and isinstance(written, int)
    assert dropped > 256 * 1024 and dropped + written == 512 * 1024 + 1 + len("end\n")
    assert "end" in remora.run("logs", "floods").stderr
