"""`run` and `create` on real containers: each option has its effect, each mistake is one line and leaves nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support.host import MEANT_TO_STAY
from tests.support.waiting import eventually


def left_over(remora: Remora) -> list[str]:
    """Every trace of a container in the data and run folders."""
    found = []
    for folder in ("containers", "names", "images"):
        path = remora.root / folder
        found += [f"{folder}/{name}" for name in os.listdir(path)] if path.exists() else []
    if remora.runroot.exists():
        found += [f"run/{name}" for name in os.listdir(remora.runroot) if name not in MEANT_TO_STAY]
        runtime = remora.runroot / "runtime"
        found += [f"runtime/{name}" for name in os.listdir(runtime)] if runtime.exists() else []
    return found


def one_line(text: str) -> str:
    assert text.startswith("Error: ") and text.endswith("\n") and text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("busybox", "nosuchcommand"), 127, 'no program "nosuchcommand"'),
        (("busybox", "/no/such"), 127, "/no/such"),
        (("busybox", "/etc"), 126, "permission denied"),
        (("busybox", "/etc/passwd"), 126, "permission denied"),
        (("-w", "/nowhere", "busybox", "true"), 126, 'workdir "/nowhere" does not exist'),
        (("-w", "/etc/passwd", "busybox", "true"), 126, 'workdir "/etc/passwd" is no folder'),
        (("-u", "nosuch", "busybox", "true"), 126, "unable to find user nosuch"),
        (("-u", "root:nosuch", "busybox", "true"), 126, "unable to find group nosuch"),
        (("nosuchimage", "true"), 125, "nosuchimage"),
        (("--security-opt", "seccomp=/nowhere", "busybox", "true"), 125, "/nowhere"),
        (("-v", "/nowhere:/x", "busybox", "true"), 125, "statfs /nowhere"),
        (("--runtime", "nosuchruntime", "busybox", "true"), 125, 'OCI runtime "nosuchruntime": not in PATH'),
        (("--preserve-fds", "1", "busybox", "true"), 125, "descriptor 3 is not open"),
        (("--rootfs", "/nowhere", "true"), 125, '"/nowhere" is no folder'),
        (("--cidfile", "/nowhere/file", "busybox", "true"), 125, "/nowhere/file"),
        ((), 125, "IMAGE"),
    ],
)
def test_mistake_is_one_line_with_its_status_and_leaves_nothing(
    remora: Remora, words: tuple[str, ...], status: int, message: str
) -> None:
    result = remora.run("run", "--rm", "--pull", "never", *words, status=status)
    assert message in one_line(result.stderr)
    assert result.stdout == ""
    assert left_over(remora) == []


def test_container_that_could_not_start_is_kept_as_created_without_rm(remora: Remora) -> None:
    remora.run("run", "--name", "stuck", "busybox", "nosuchcommand", status=127)
    assert remora("inspect", "-f", "{{.State.Status}}", "stuck") == "created"
    remora.run("start", "stuck", status=127)
    remora("rm", "stuck")
    assert left_over(remora) == []


def test_taken_name_tells_by_whom_and_makes_nothing(remora: Remora) -> None:
    first = remora("create", "--name", "mine", "busybox", "true")
    before = sorted(left_over(remora))
    error = one_line(remora.run("create", "--name", "mine", "busybox", "true", status=125).stderr)
    assert f'the container name "mine" is already in use by {first}' in error
    assert sorted(left_over(remora)) == before


def test_name_is_made_up_in_dockers_style(remora: Remora) -> None:
    container = remora("create", "busybox", "true")
    name = remora("inspect", "-f", "{{.Name}}", container)
    assert name.count("_") == 1 and name.replace("_", "").isalpha()


def test_status_is_the_commands_own(remora: Remora) -> None:
    remora.run("run", "--rm", "busybox", "sh", "-c", "exit 42", status=42)
    remora.run("run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$", status=137)
    assert left_over(remora) == []


def test_streams_are_kept_apart(remora: Remora) -> None:
    result = remora.run("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    result = remora.run("run", "--rm", "-a", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("", "err\n")


def test_input_ends_with_ours(remora: Remora) -> None:
    assert remora.run("run", "--rm", "-i", "busybox", "cat", input="some\ninput").stdout == "some\ninput"
    assert remora.run("run", "--rm", "busybox", "cat", input="ignored").stdout == ""


def test_only_its_own_descriptors_are_open(remora: Remora) -> None:
    assert remora("run", "--rm", "busybox", "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


def test_descriptors_are_handed_on_when_asked(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("through a descriptor")
    script = f"exec remora run --rm --preserve-fds 1 busybox sh -c 'cat <&3' 3<{tmp_path}/file"
    result = subprocess.run(["sh", "-c", script], env=remora.environment, capture_output=True, text=True, check=True)
    assert result.stdout == "through a descriptor"


def test_default_identity_and_rights(remora: Remora) -> None:
    status = remora("run", "--rm", "busybox", "cat", "/proc/self/status")
    facts = dict(line.partition(":\t")[::2] for line in status.splitlines())
    assert facts["CapBnd"] == facts["CapEff"] == facts["CapPrm"] == "00000000800405fb"
    assert facts["CapInh"] == facts["CapAmb"] == "0000000000000000"
    assert (facts["Seccomp"], facts["NoNewPrivs"], facts["Umask"]) == ("2", "0", "0022")


def test_other_users_get_only_what_was_added(remora: Remora) -> None:
    words = ("--user", "user", "--cap-add", "NET_ADMIN", "--security-opt", "no-new-privileges")
    status = remora("run", "--rm", *words, "busybox", "cat", "/proc/self/status")
    facts = dict(line.partition(":\t")[::2] for line in status.splitlines())
    assert facts["CapEff"] == facts["CapAmb"] == "0000000000001000"
    assert facts["NoNewPrivs"] == "1"
    assert facts["Groups"].split() == ["1000", "2000"]


def test_unprivileged_process_opens_its_standard_streams(remora: Remora) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin"
    result = remora.run("run", "--rm", "-i", "-u", "user", "busybox", "sh", "-c", script, input="in")
    assert (result.stdout, result.stderr) == ("out\nin", "err\n")


def test_privileged_container_sees_devices_and_what_it_is(remora: Remora) -> None:
    script = "grep -c . /proc/self/mountinfo; grep Seccomp: /proc/self/status; ls /dev; cat /run/.containerenv"
    text = remora("run", "--rm", "--name", "big", "--privileged", "busybox", "sh", "-c", script)
    assert ("Seccomp:\t0" in text and "loop" in text) or "vda" in text
    assert 'name="big"' in text and 'engine="remora"' in text


def test_generated_files(remora: Remora) -> None:
    script = (
        "hostname; cat /etc/hostname /etc/hosts; test -f /run/.containerenv; test ! -s /etc/resolv.conf && echo none"
    )
    text = remora("run", "--rm", "--name", "me", "--hostname", "there", "busybox", "sh", "-c", script).splitlines()
    assert text[:2] == ["there", "there"]
    assert "127.0.0.1\tthere me" in text
    assert text[-1] == "none"


def test_hosts_network_shares_names_and_interfaces(remora: Remora) -> None:
    script = "hostname; ls /sys/class/net; cat /etc/resolv.conf"
    text = remora("run", "--rm", "--network", "host", "busybox", "sh", "-c", script)
    assert text.splitlines()[0] == os.uname().nodename
    assert set(os.listdir("/sys/class/net")) <= set(text.split())
    assert Path("/etc/resolv.conf").read_text().strip() in text


def test_no_network_means_loopback_only(remora: Remora) -> None:
    assert "eth0" not in remora("run", "--rm", "busybox", "ls", "/sys/class/net").split()


def test_limits_reach_the_kernel(remora: Remora) -> None:
    words = ("-m", "64m", "--pids-limit", "50", "--cpus", "0.5", "--ulimit", "nofile=70:90")
    container = remora("run", "-d", *words, "busybox", "sh", "-c", "ulimit -n; ulimit -Hn; sleep 100")
    pid = remora("inspect", "-f", "{{.State.Pid}}", container)
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "memory" in groups:
        root = Path("/sys/fs/cgroup")
        assert (root / f"memory{groups['memory']}" / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)
        assert (root / f"pids{groups['pids']}" / "pids.max").read_text().strip() == "50"
    else:
        group = Path("/sys/fs/cgroup" + groups[""])
        assert (group / "memory.max").read_text().strip() == str(64 << 20)
        assert (group / "pids.max").read_text().strip() == "50"
        assert (group / "cpu.max").read_text().split() == ["50000", "100000"]
    eventually(lambda: remora("logs", container) == "70\n90", "both lines are logged")


def test_limit_beyond_ours_is_lowered_with_one_warning(remora: Remora) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    result = remora.run("run", "--rm", "--ulimit", f"nofile=100:{1 << 40}", "busybox", "sh", "-c", "ulimit -Hn")
    assert int(result.stdout) <= max(hard, int(Path("/proc/sys/fs/nr_open").read_text()))
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("Warning: ") and "nofile" in result.stderr


def test_three_megabytes_of_environment_arrive(remora: Remora, tmp_path: Path) -> None:
    lines = [f"V{number}={'x' * 100_000}" for number in range(31)]
    (tmp_path / "env").write_text("\n".join(lines))
    result = remora("run", "--rm", "--env-file", str(tmp_path / "env"), "busybox", "sh", "-c", "env | grep -c ^V")
    assert result == "31"


def test_variable_the_kernel_refuses_is_named(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("HUGE=" + "x" * 200_000)
    error = remora.run("run", "--rm", "--env-file", str(tmp_path / "env"), "busybox", "true", status=125).stderr
    assert "environment variable HUGE" in one_line(error)
    assert left_over(remora) == []


def test_mounts(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    words = ("-v", f"{tmp_path}:/m", "-v", f"{tmp_path}:/ro:ro", "--tmpfs", "/etc:mode=755", "--tmpfs", "/t:size=1m")
    script = (
        "cat /m/file; echo new >/m/new; echo x 2>/dev/null >/ro/no || echo refused; grep -c root /etc/passwd; df -k /t"
    )
    text = remora("run", "--rm", *words, "busybox", "sh", "-c", script)
    assert text.startswith("hostrefused\n1\n") and " 1024 " in text
    assert (tmp_path / "new").read_text() == "new\n"
    assert not (tmp_path / "no").exists()
    assert not (tmp_path / "hostname").exists()


def test_read_only_root_with_writable_folders(remora: Remora) -> None:
    script = "for f in /a /etc/hosts /run/a /tmp/a /var/tmp/a; do (echo x >$f) 2>/dev/null && echo $f; done; true"
    assert remora("run", "--rm", "--read-only", "busybox", "sh", "-c", script).split() == [
        "/run/a",
        "/tmp/a",
        "/var/tmp/a",
    ]


def test_root_folder_is_open_to_other_users(remora: Remora) -> None:
    assert remora("run", "--rm", "-u", "1234", "busybox", "stat", "-c", "%a %u", "/") in ("755 0", "555 0")


def test_init_is_the_first_process(remora: Remora) -> None:
    text = remora("run", "--rm", "--init", "busybox", "sh", "-c", "echo $$; tr '\\0' ' ' </proc/1/cmdline")
    assert text.split("\n")[0] != "1" and text.split("\n")[1].startswith("/run/remora-init -- sh")


def test_images_missing_workdir_is_made_for_its_user(remora: Remora, storage_conf: Path, busybox_tar: Path) -> None:
    remora("import", "-c", "WORKDIR /made/by/us", "-c", "USER user", str(busybox_tar), "with-workdir")
    try:
        assert remora("run", "--rm", "with-workdir", "sh", "-c", "pwd; stat -c %u:%g .; touch x").split() == [
            "/made/by/us",
            "1000:1000",
        ]
    finally:
        remora("rmi", "with-workdir")


def test_id_and_pid_files(remora: Remora, tmp_path: Path) -> None:
    words = ("--cidfile", str(tmp_path / "cid"), "--pidfile", str(tmp_path / "pid"))
    container = remora("run", "-d", *words, "busybox", "sleep", "100")
    assert (tmp_path / "cid").read_text() == container
    assert (tmp_path / "pid").read_text().strip() == remora("inspect", "-f", "{{.State.Pid}}", container)
    error = remora.run("run", *words, "busybox", "true", status=125).stderr
    assert "is there already" in one_line(error)
    assert (tmp_path / "cid").read_text() == container


def test_folder_as_root_file_system(remora: Remora, tmp_path: Path, busybox_tar: Path) -> None:
    subprocess.run(["tar", "-C", tmp_path, "-xf", busybox_tar], check=True)
    assert remora("run", "--rm", "--rootfs", str(tmp_path), "sh", "-c", "touch /written; pwd") == "/"
    assert (tmp_path / "written").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_container(remora: Remora, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.1; done"
    process = remora.popen("run", "--rm", "busybox", "sh", "-c", script)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == (f"got {name}\n".encode(), b"", 3)
    assert left_over(remora) == []


def test_signal_sent_at_once_is_not_lost(remora: Remora) -> None:
    """A SIGTERM right after the frontend began to wait for the start still reaches the container."""
    process = remora.popen("run", "--init", "--name", "early", "busybox", "sleep", "100")
    eventually(lambda: any((remora.root / "containers").glob("*/bundle/config.json")), "the bundle is written")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_stop_right_after_the_start_does_not_wait_for_its_time_limit(remora: Remora) -> None:
    remora("run", "-d", "--init", "--name", "young", "busybox", "sleep", "100")
    remora("stop", "--time", "50", "young")
    assert remora("inspect", "-f", "{{.State.ExitCode}}", "young") == "143"


def test_rm_container_survives_its_restart_and_goes_under_its_new_name(remora: Remora) -> None:
    remora("run", "-d", "--rm", "--name", "before", "busybox", "sleep", "100")
    remora("rename", "before", "after")
    remora("restart", "--time", "0", "after")
    assert remora("inspect", "-f", "{{.State.Status}} {{.Name}}", "after") == "running after"
    remora("stop", "--time", "0", "after")
    eventually(lambda: not left_over(remora), "all of it is gone")


def test_lowered_default_limits_are_told_once(remora: Remora) -> None:
    (remora.runroot / "limits-told").unlink()
    remora.run("create", "--name", "low", "busybox", "true")
    command = ["prlimit", "--nofile=1000:1000", "--nproc=9000:9000", str(PROGRAM), "start", "low"]
    told = []
    for _ in range(2):
        lowered = subprocess.run(
            ["setpriv", "--bounding-set=-sys_resource", *command],
            env=remora.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        told.append(lowered.stderr.splitlines())
        remora("wait", "low")
    assert told == [
        [
            "Warning: default limits lowered: nofile to 1000, nproc to 9000 "
            "(this process may set no more: raise its hard limits, or give --ulimit; said once)"
        ],
        [],
    ]


def test_removal_is_over_when_a_foreground_rm_container_returns(remora: Remora) -> None:
    remora("run", "--rm", "busybox", "true")
    assert left_over(remora) == []


def test_detached_rm_container_removes_itself_and_lets_go_of_its_image(remora: Remora) -> None:
    container = remora("run", "-d", "--rm", "busybox", "true")
    assert len(container) == 64
    eventually(lambda: not left_over(remora), "all of it is gone")


def test_runtime_is_probed_once_and_remembered(remora: Remora) -> None:
    remora("run", "--rm", "busybox", "true")
    path = remora.runroot / "runtime-choice"
    if not path.exists():
        pytest.skip("only one runtime is installed")
    before = path.stat()
    chosen = path.read_text().splitlines()[1]
    remora("run", "--rm", "busybox", "true")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert os.path.basename(chosen) in ("crun", "runc")
    path.write_text("another boot\n" + "\n".join(path.read_text().splitlines()[1:]) + "\n")
    remora("run", "--rm", "busybox", "true")
    assert "another boot" not in path.read_text()


def test_no_runtime_names_the_packages(remora: Remora, tmp_path: Path) -> None:
    """In a mount namespace where crun and runc are plain files that can't be executed."""
    (tmp_path / "empty").write_text("")
    hidden = [path for name in ("crun", "runc") for path in _all_paths(name)]
    script = "".join(f"mount --bind {tmp_path}/empty {path}; " for path in hidden) + 'exec "$@"'
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(Path(sys.executable).parent / "remora")]
        + ["run", "--rm", "busybox", "true"],
        env=remora.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 125
    assert "install the package crun or runc" in one_line(result.stderr)
    assert left_over(remora) == []


def _all_paths(name: str) -> list[str]:
    folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return sorted({os.path.realpath(f"{folder}/{name}") for folder in folders if os.path.exists(f"{folder}/{name}")})


def test_folders_are_closed_to_others(remora: Remora) -> None:
    container = remora("create", "busybox", "true")
    for path in (remora.root / "containers" / container, remora.root / "names"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((remora.root / "containers" / container / "spec.json").stat().st_mode) == 0o600
    spec = json.loads((remora.root / "containers" / container / "spec.json").read_text())
    assert spec["id"] == container and spec["version"] == 1


def test_crun_is_chosen_where_it_works(remora: Remora) -> None:
    """Hybrid cgroups are what crun refuses: a mount namespace without the second hierarchy is none."""
    if not _all_paths("crun"):
        pytest.skip("crun is not installed")
    script = "umount /sys/fs/cgroup/unified 2>/dev/null; remora run --rm busybox echo hello"
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], env=remora.environment, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.returncode) == ("hello\n", 0), result.stderr
    assert (remora.runroot / "runtime-choice").read_text().splitlines()[1].endswith("/crun")
    script = "umount /sys/fs/cgroup/unified 2>/dev/null; remora run --rm busybox nosuch; test $? = 127"
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], env=remora.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and "nosuch" in one_line(result.stderr)
