"""Options of `run` whose effect only a running container shows."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.waiting import eventually


def test_an_out_of_memory_kill_is_told(remora: Remora) -> None:
    command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=60M", "count=1"]
    remora.run("run", "--name", "hungry", "--memory", "16m", "--memory-swap", "16m", "busybox", *command, status=137)
    assert remora("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hungry") == "true 137"
    remora.run(
        "run", "--name", "killed", "--memory", "16m", "busybox", "sh", "-c", "kill -KILL $$; sleep 0", status=None
    )
    assert remora("inspect", "-f", "{{.State.OOMKilled}}", "killed") == "false"


def test_limits_are_those_asked_for(remora: Remora) -> None:
    options = ["--memory", "32m", "--pids-limit", "7", "--cpus", "0.5", "--ulimit", "nofile=123:456"]
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"  # cgroup v1, cgroup v2
    script = f"ulimit -n; ulimit -Hn; cat {files} 2>/dev/null; true"
    assert remora("run", "--rm", *options, "busybox", "sh", "-c", script).split() == ["123", "456", str(32 << 20)]


def test_a_paused_container_stands_still_until_it_is_resumed(remora: Remora) -> None:
    script = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); echo $i; sleep 0.01; done"
    container = remora("run", "-d", "--name", "still", "busybox", "sh", "-c", script)
    log = remora.root / "containers" / container / "log"
    eventually(lambda: log.stat().st_size > 0, "it runs")
    remora("pause", "still")
    assert remora("inspect", "-f", "{{.State.Status}} {{.State.Paused}}", "still") == "paused true"
    assert "Paused" in remora("ps", "--format", "{{.Status}}") or "paused" in remora("ps", "--format", "{{.State}}")
    frozen = [Path(folder) / "freezer.state" for folder in host.cgroups_of({container}) if "/freezer/" in folder]
    assert [path.read_text().strip() for path in frozen] == ["FROZEN"] * len(frozen)
    size = log.stat().st_size
    assert "paused" in remora.run("exec", "still", "true", status=125).stderr
    assert log.stat().st_size == size
    remora("unpause", "still")
    eventually(lambda: log.stat().st_size > size, "it goes on")
    assert remora("inspect", "-f", "{{.State.Status}}", "still") == "running"


def test_a_paused_container_can_be_stopped_and_removed(remora: Remora) -> None:
    container = remora("run", "-d", "--name", "still", "busybox", "sleep", "1000")
    remora("pause", "still")
    remora("rm", "-f", "-t", "0", "still")
    host.assert_nothing_left(remora, {container})


def test_an_init_is_process_one_and_reaps(remora: Remora) -> None:
    remora("run", "-d", "--init", "--name", "tidy", "busybox", "sh", "-c", "exec sleep 1000")
    assert remora("exec", "tidy", "cat", "/proc/1/comm") == "remora-init"
    remora("exec", "tidy", "sh", "-c", "(sleep 0.01 &) ; true")
    eventually(
        lambda: "Z" not in remora("exec", "tidy", "sh", "-c", "cat /proc/[0-9]*/stat | cut -d' ' -f3"), "no zombie"
    )
    remora.run("run", "--rm", "--init", "busybox", "sh", "-c", "exit 19", status=19)


def test_a_read_only_root_has_writable_temporary_folders(remora: Remora) -> None:
    script = "touch /x 2>/dev/null && echo root; for d in /tmp /run /var/tmp /dev/shm; do touch $d/x && echo $d; done"
    assert remora("run", "--rm", "--read-only", "busybox", "sh", "-c", script).split() == [
        "/tmp", "/run", "/var/tmp", "/dev/shm",
    ]  # fmt: skip
    remora.run("run", "--rm", "--read-only", "--read-only-tmpfs=false", "busybox", "touch", "/tmp/x", status=1)


def test_pid_and_id_files_hold_what_inspect_says(remora: Remora, tmp_path: Path) -> None:
    pidfile, cidfile = tmp_path / "pid", tmp_path / "cid"
    container = remora(
        "run", "-d", "--name", "filed", "--pidfile", str(pidfile), "--cidfile", str(cidfile), "busybox", "sleep", "1000"
    )
    assert pidfile.read_text().strip() == remora("inspect", "-f", "{{.State.Pid}}", "filed")
    assert cidfile.read_text() == container
    result = remora.run("run", "-d", "--cidfile", str(cidfile), "busybox", "true", status=125)
    assert str(cidfile) in result.stderr
    assert remora("rm", "-f", "-t", "0", "--cidfile", str(cidfile)) != ""
    assert remora("ps", "-aq") == ""


def test_files_of_the_host_are_bound(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    folder = str(tmp_path)
    assert remora("run", "--rm", "-v", f"{folder}:/data", "busybox", "sh", "-c", "cat /data/file; echo > /data/new")
    assert (tmp_path / "new").exists()
    mount = f"type=bind,source={folder},target=/data,ro"
    remora.run("run", "--rm", "--mount", mount, "busybox", "touch", "/data/other", status=1)
    assert not (tmp_path / "other").exists()


def test_a_tmpfs_has_the_size_asked_for(remora: Remora) -> None:
    line = remora("run", "--rm", "--tmpfs", "/cache:size=1m,mode=700", "busybox", "grep", "/cache", "/proc/mounts")
    assert line.startswith("tmpfs /cache tmpfs") and "size=1024k" in line and "mode=700" in line


def test_the_network_is_the_host_s_or_none(remora: Remora) -> None:
    own = os.readlink("/proc/self/ns/net")
    assert remora("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net") == own
    other = remora(
        "run", "--rm", "--network", "none", "busybox", "sh", "-c", "readlink /proc/self/ns/net; ls /sys/class/net"
    )
    assert other.split()[0] != own
    assert other.split()[1:] == ["lo"]


def test_with_the_network_none_the_loopback_device_is_up(remora: Remora) -> None:
    assert "127.0.0.1" in remora("run", "--rm", "--network", "none", "busybox", "ifconfig", "lo")


def test_the_host_name_is_set_and_resolves(remora: Remora) -> None:
    script = "hostname; grep -c -w sea /etc/hosts; cat /etc/hostname"
    assert remora("run", "--rm", "--hostname", "sea", "busybox", "sh", "-c", script).split()[0] == "sea"
    container = remora("run", "-d", "--name", "named", "busybox", "sleep", "1000")
    assert remora("exec", "named", "hostname") == container[:12]
    assert remora("run", "--rm", "--network", "host", "busybox", "hostname") == socket.gethostname()


def test_by_default_a_container_has_eleven_capabilities_and_a_seccomp_filter(remora: Remora) -> None:
    status = remora("run", "--rm", "busybox", "cat", "/proc/self/status")
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(values["CapEff"], 16).bit_count() == 11
    assert values["CapEff"] == values["CapBnd"]
    assert values["Seccomp"] == "2"


def test_privileged_has_every_capability_there_is(remora: Remora) -> None:
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    assert (
        remora("run", "--rm", "--privileged", "busybox", "grep", "CapEff", "/proc/self/status").split()[1]
        == own.split()[1]
    )
    assert "Seccomp:\t0" in remora("run", "--rm", "--privileged", "busybox", "cat", "/proc/self/status")


def test_masked_and_read_only_paths_are_out_of_reach(remora: Remora) -> None:
    script = "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no"
    assert remora("run", "--rm", "busybox", "sh", "-c", script).split() == ["0", "no"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-e", "A=1", "-e", "B=two words"], "1|two words|"),
        (["-e", "FROM_OUTSIDE"], "||outside"),
        (["-e", "FROM_*"], "||outside"),
    ],
)
def test_the_environment_is_as_asked(remora: Remora, options: list[str], expected: str) -> None:
    result = remora.run(
        "run", "--rm", *options, "busybox", "sh", "-c", 'echo "$A|$B|$FROM_OUTSIDE"', env={"FROM_OUTSIDE": "outside"}
    )
    assert result.stdout == expected + "\n"


def test_user_and_groups_are_looked_up_in_the_image(remora: Remora) -> None:
    assert (
        remora("run", "--rm", "-u", "user", "busybox", "id")
        == "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"
    )
    assert remora("run", "--rm", "-u", "1234:5678", "busybox", "sh", "-c", "id -u; id -g").split() == ["1234", "5678"]


def test_a_folder_serves_as_root_without_an_image(remora: Remora, busybox_tar: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", busybox_tar], check=True)
    assert remora("run", "--rm", "--rootfs", str(root), "sh", "-c", "echo mark > /mark; echo ran") == "ran"
    assert (root / "mark").read_text() == "mark\n"


def test_a_name_that_is_taken_is_refused_with_its_holder(remora: Remora) -> None:
    holder = remora("create", "--name", "twice", "busybox", "true")
    result = remora.run("run", "--name", "twice", "busybox", "true", status=125)
    assert holder[:12] in result.stderr and result.stderr.count("\n") == 1
    assert len(remora("ps", "-aq").split()) == 1


def test_stopping_uses_the_signal_asked_for_and_kills_after_the_time(remora: Remora) -> None:
    script = "trap 'exit 44' USR1; while :; do sleep 0.05; done"
    remora("run", "-d", "--name", "asked", "--stop-signal", "USR1", "busybox", "sh", "-c", f"{script}")
    eventually(lambda: _catches(remora, "asked", 10), "the trap is set")
    remora("stop", "asked")
    assert remora("wait", "asked") == "44"
    remora("run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sleep", "1000")
    remora("stop", "deaf")
    assert remora("wait", "deaf") == "137"


def _catches(remora: Remora, name: str, number: int) -> bool:
    """Whether the container's first process has a handler for a signal."""
    pid = remora("inspect", "-f", "{{.State.Pid}}", name)
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_inspect_tells_the_whole_story(remora: Remora) -> None:
    container = remora("run", "--name", "told", "--label", "a=b", "-e", "X=y", "busybox", "sh", "-c", "exit 0")
    assert container == ""
    entry = json.loads(remora("inspect", "told"))[0]
    state = entry["State"]
    assert (state["Status"], state["Running"], state["ExitCode"], state["Pid"]) == ("exited", False, 0, 0)
    assert state["StartedAt"] < state["FinishedAt"]
    assert entry["Name"].lstrip("/") == "told"
    assert entry["Config"]["Labels"]["a"] == "b"
    assert "X=y" in entry["Config"]["Env"]
    assert entry["ImageName"] == "localhost/busybox:latest"
