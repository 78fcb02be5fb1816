"""`logs` over rotated files, of every driver and of several containers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.e2e.conftest import TerminalFactory

FILE_DRIVERS = ("k8s-file", "json-file")
ON_DEMAND = "while read count; do seq 1 $count; done"


@pytest.mark.parametrize("driver", FILE_DRIVERS)
def test_following_goes_on_over_rotations(remora: Remora, driver: str) -> None:
    """Bursts that fill several files each; nothing is missing, nothing comes twice."""
    options = ("--log-driver", driver, "--log-opt", "max-size=8k,max-file=100")
    remora("run", "-d", "-i", "--name", "talks", *options, "busybox", "sh", "-c", ON_DEMAND)
    speaker = remora.popen("attach", "talks", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    follower = remora.popen("logs", "-f", "talks")
    assert speaker.stdin is not None and follower.stdout is not None
    total = 0
    for count in (1, 3000, 1, 200, 2500, 10):
        speaker.stdin.write(f"{count}\n".encode())
        speaker.stdin.flush()
        total += count
        for number in range(1, count + 1):
            assert follower.stdout.readline() == f"{number}\n".encode()
    path = Path(remora("inspect", "-f", "{{.LogPath}}", "talks"))
    assert len(list(path.parent.glob(f"{path.name}.*"))) > 20
    speaker.communicate(timeout=60)
    assert follower.communicate(timeout=30)[0] == b"" and follower.returncode == 0
    lines = remora("logs", "talks").splitlines()
    assert len(lines) == total
    assert remora("logs", "--tail", "2600", "talks").splitlines() == lines[-2600:]


def test_text_of_any_kind_comes_back_from_json(remora: Remora) -> None:
    script = r"""printf 'quote " backslash \\ tab \t bell \a <&> caf\303\251 \360\237\230\200\n'; echo err >&2"""
    script += "; printf open"
    ran = remora.run("run", "--name", "json", "--log-driver", "json-file", "busybox", "sh", "-c", script)
    read = remora.run("logs", "json")
    assert (read.stdout, read.stderr) == (ran.stdout, "err\n") and ran.stdout.endswith("\nopen")


@pytest.mark.parametrize(("driver", "hint"), [("none", "run it with"), ("passthrough", "its output goes")])
def test_a_driver_that_keeps_nothing_is_named_as_by_podman(remora: Remora, driver: str, hint: str) -> None:
    remora("create", "--name", "silent", "--log-driver", driver, "busybox", "true")
    said = remora.run("logs", "silent", status=125).stderr
    assert said.startswith(
        f"Error: this container is using the '{driver}' log driver, cannot read logs: "
        f"this container is not logging output ({hint}"
    )
    assert said.count("\n") == 1


def test_the_first_driver_that_can_be_read_is_read(remora: Remora) -> None:
    drivers = [word for driver in ("json-file", "k8s-file") for word in ("--log-driver", driver)]
    remora("run", "--name", "several", *drivers, "busybox", "echo", "to all")
    container = remora("inspect", "-f", "{{.Id}}", "several")
    (remora.root / "containers" / container / f"{container}-json.log").write_text("")
    assert remora("logs", "several") == "to all"


def test_a_log_renamed_by_others_is_followed(remora: Remora, tmp_path: Path) -> None:
    """As logrotate does it: what goes to the renamed file is shown until there is a new one."""
    path = tmp_path / "ctr.log"
    remora("run", "-d", "-i", "--name", "renamed", "--log-opt", f"path={path}", "busybox", "sh", "-c", ON_DEMAND)
    speaker = remora.popen("attach", "renamed", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    follower = remora.popen("logs", "-f", "renamed")
    assert speaker.stdin is not None and follower.stdout is not None

    def burst(count: int) -> None:
        assert speaker.stdin is not None and follower.stdout is not None
        speaker.stdin.write(f"{count}\n".encode())
        speaker.stdin.flush()
        assert [follower.stdout.readline() for _ in range(count)] == [b"%d\n" % n for n in range(1, count + 1)]

    burst(10)
    os.rename(path, tmp_path / "ctr.log.old")
    burst(10)
    os.rename(tmp_path / "ctr.log.old", path)
    os.truncate(path, 0)
    burst(10)
    speaker.communicate(timeout=60)
    assert follower.communicate(timeout=30)[0] == b""


def test_colours_tell_several_containers_apart_on_a_terminal(remora: Remora, terminal: TerminalFactory) -> None:
    for name in ("one", "two"):
        remora("run", "--name", name, "busybox", "echo", "from", name)
    shown = terminal("logs", "--color", "-n", "one", "two")
    assert shown.wait() == 0
    assert b"\x1b[37mone \x1b[0mfrom one" in shown.screen
    assert b"\x1b[32mtwo \x1b[0mfrom two" in shown.screen
    assert remora("logs", "--color", "-n", "one", "two") == "one from one\ntwo from two"
    single = terminal("logs", "--color", "one")
    assert single.wait() == 0 and not re.search(b"\x1b", single.screen)
