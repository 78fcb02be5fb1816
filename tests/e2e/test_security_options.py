"""Security options of `run`, `create` and `exec`: what a container has then, seen from inside."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from remora.frontend.oci.capabilities import NAMES
from tests.conftest import Remora
from tests.support import host

DEFAULT = set("CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split())
DOCKER = DEFAULT | {"NET_RAW", "MKNOD", "AUDIT_WRITE"}
FUSE = Path("/dev/fuse")


def names(mask: str) -> set[str]:
    """The capabilities of a mask as in /proc/PID/status, without CAP_."""
    return {name.removeprefix("CAP_") for number, name in enumerate(NAMES) if int(mask, 16) >> number & 1}


def sets(text: str) -> dict[str, set[str]]:
    """The five sets of /proc/PID/status: Inh, Prm, Eff, Bnd, Amb."""
    lines = dict(line.split(":\t") for line in text.splitlines() if line.startswith("Cap"))
    return {key.removeprefix("Cap"): names(value) for key, value in lines.items()}


def capabilities(remora: Remora, *options: str) -> dict[str, set[str]]:
    return sets(remora("run", "--rm", *options, "busybox", "grep", "Cap", "/proc/self/status"))


def configured(folder: Path, *lines: str) -> dict[str, str]:
    """An environment with a containers.conf that has these lines in the table `containers`."""
    path = folder / "containers.conf"
    path.write_text("\n".join(["[containers]", 'netns = "none"', *lines]) + "\n")
    return {"CONTAINERS_CONF": str(path)}


def refused(remora: Remora, *options: str, command: Sequence[str] = ("true",)) -> str:
    """The one line of an error of `run`; nothing is left then."""
    result = remora.run("run", *options, "busybox", *command, status=125)
    assert result.stderr.count("\n") == 1 and result.stdout == ""
    host.assert_nothing_left(remora, set())
    return result.stderr


# ---- capabilities -----------------------------------------------------------------------------


def test_root_has_podman_s_eleven_and_nothing_inheritable(remora: Remora) -> None:
    found = capabilities(remora)
    assert found == {"Inh": set(), "Prm": DEFAULT, "Eff": DEFAULT, "Bnd": DEFAULT, "Amb": set()}


def test_docker_s_fourteen_come_by_a_setting(remora: Remora, tmp_path: Path) -> None:
    listed = ", ".join(f'"{name}"' for name in sorted(DOCKER))
    environment = configured(tmp_path, f"default_capabilities = [{listed}]")
    result = remora.run("run", "--rm", "busybox", "grep", "Cap", "/proc/self/status", env=environment)
    assert sets(result.stdout)["Eff"] == DOCKER
    options = ("--cap-drop", "MKNOD")
    result = remora.run("run", "--rm", *options, "busybox", "grep", "Cap", "/proc/self/status", env=environment)
    assert sets(result.stdout)["Bnd"] == DOCKER - {"MKNOD"}


def test_the_default_set_of_its_making_stays_a_container_s_own(remora: Remora, tmp_path: Path) -> None:
    environment = configured(tmp_path, 'default_capabilities = ["KILL"]')
    remora.run("create", "--name", "few", "busybox", "grep", "Cap", "/proc/self/status", env=environment)
    assert sets(remora("start", "-a", "few"))["Bnd"] == {"KILL"}


def test_a_wrong_name_in_the_setting_is_told_with_its_file(remora: Remora, tmp_path: Path) -> None:
    environment = configured(tmp_path, 'default_capabilities = ["KILLL"]')
    result = remora.run("run", "busybox", "true", env=environment, status=125)
    assert '"KILLL"' in result.stderr and str(tmp_path) in result.stderr and "KILL?" in result.stderr


def test_capabilities_are_added_and_dropped_by_name(remora: Remora) -> None:
    assert capabilities(remora, "--cap-add", "net_raw,CAP_MKNOD", "--cap-drop", "chown")["Eff"] == (
        DEFAULT | {"NET_RAW", "MKNOD"}
    ) - {"CHOWN"}
    assert capabilities(remora, "--cap-drop", "all")["Bnd"] == set()
    assert capabilities(remora, "--cap-drop", "ALL", "--cap-add", "KILL")["Eff"] == {"KILL"}
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    assert capabilities(remora, "--cap-add", "ALL")["Eff"] == names(own.split()[1])


def test_a_user_has_only_what_was_added_and_keeps_it_across_exec(remora: Remora) -> None:
    assert capabilities(remora, "--user", "1000") == {
        "Inh": set(), "Prm": set(), "Eff": set(), "Bnd": DEFAULT, "Amb": set(),
    }  # fmt: skip
    added = {"NET_ADMIN"}
    words = ["--user", "1000", "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", "grep Cap /proc/self/status"]
    assert sets(remora("run", "--rm", *words)) == {
        "Inh": added, "Prm": added, "Eff": added, "Bnd": DEFAULT | added, "Amb": added,
    }  # fmt: skip


def test_an_exec_has_the_container_s_sets_or_all(remora: Remora) -> None:
    remora("run", "-d", "--name", "host", "--cap-add", "NET_RAW", "busybox", "sleep", "1000")
    show = ("grep", "Cap", "/proc/self/status")
    assert sets(remora("exec", "host", *show))["Eff"] == DEFAULT | {"NET_RAW"}
    user = sets(remora("exec", "--user", "1000", "host", *show))
    assert (user["Eff"], user["Bnd"]) == ({"NET_RAW"}, DEFAULT | {"NET_RAW"})
    assert "SYS_ADMIN" in sets(remora("exec", "--privileged", "host", *show))["Eff"]


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("--cap-add", "NET_ADMN"), ('"NET_ADMN"', "--cap-add", "did you mean NET_ADMIN?")),
        (("--cap-drop", "cap_sysadmin"), ('"cap_sysadmin"', "--cap-drop", "SYS_ADMIN?")),
        (("--cap-add", "KILL", "--cap-drop", "KILL"), ("CAP_KILL is to be added and dropped",)),
        (("--cap-add", "ALL", "--cap-drop", "ALL"), ("exclude each other",)),
    ],
)
def test_a_capability_that_can_t_be_is_one_line(
    remora: Remora, options: tuple[str, ...], texts: tuple[str, ...]
) -> None:
    error = refused(remora, *options)
    assert all(text in error for text in texts)


def test_a_capability_that_this_process_lacks_is_named(remora: Remora) -> None:
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    missing = {name.removeprefix("CAP_") for name in NAMES} - names(own.split()[1])
    if not missing:
        pytest.skip("this process has all")
    name = sorted(missing)[0]
    result = remora.run("run", "--rm", "--cap-add", name, "busybox", "true")
    assert result.stderr == f"Warning: --cap-add CAP_{name} left out: this process may not give it\n"


# ---- users and groups -------------------------------------------------------------------------


def test_groups_are_added_by_name_and_number(remora: Remora) -> None:
    words = ["--user", "user", "--group-add", "4242", "--group-add", "extra", "--group-add", "root"]
    assert set(remora("run", "--rm", *words, "busybox", "id", "-G").split()) == {"1000", "2000", "4242", "0"}
    remora("run", "-d", "--name", "grouped", *words, "busybox", "sleep", "1000")
    assert "4242" in remora("exec", "grouped", "id", "-G").split()
    assert "4242" not in remora("exec", "--user", "user", "grouped", "id", "-G").split()


def test_a_group_or_user_that_the_image_lacks_is_one_line(remora: Remora) -> None:
    for option, text in (
        (("--group-add", "nosuch"), "unable to find group nosuch"),
        (("--user", "nosuch"), "unable to find user nosuch"),
        (("--user", "user:nosuch"), "unable to find group nosuch"),
    ):
        result = remora.run("run", "--rm", *option, "busybox", "true", status=126)
        assert text in result.stderr and result.stderr.count("\n") == 1
        host.assert_nothing_left(remora, set())
    remora("run", "-d", "--name", "there", "busybox", "sleep", "1000")
    result = remora.run("exec", "--user", "nosuch", "there", "true", status=126)
    assert "unable to find user nosuch" in result.stderr and result.stderr.count("\n") == 1
    remora("rm", "-f", "-t", "0", "there")
    assert "stands alone" in refused(remora, "--group-add", "keep-groups", "--group-add", "5")


def test_a_number_that_the_image_does_not_know_gets_an_entry(remora: Remora) -> None:
    show = ("sh", "-c", "whoami; tail -n 1 /etc/passwd; tail -n 1 /etc/group")
    found = remora("run", "--rm", "-w", "/tmp", "-u", "4321:8765", "busybox", *show).split("\n")
    assert found == ["4321", "4321:*:4321:8765:container user:/tmp:/bin/sh", "8765:x:8765:4321"]
    assert "4321" not in remora("run", "--rm", "-u", "4321", "--passwd=false", "busybox", "cat", "/etc/passwd")
    assert "/etc/passwd" not in remora("run", "--rm", "-u", "user", "busybox", "cat", "/proc/mounts")


def test_the_entry_has_the_form_asked_for(remora: Remora) -> None:
    options = ["--passwd-entry", "me:*:$UID:$GID:$NAME:/home:/bin/no", "--group-entry", "us:x:$GID:$USERLIST"]
    show = ("sh", "-c", "whoami; tail -n 1 /etc/passwd; tail -n 1 /etc/group")
    found = remora("run", "--rm", "-u", "4321:8765", *options, "busybox", *show).split("\n")
    assert found == ["me", "me:*:4321:8765:container user:/home:/bin/no", "us:x:8765:4321"]
    assert "7 fields" in refused(remora, "--passwd-entry", "short", "-u", "4321")


def test_a_user_of_the_host_is_added_and_can_be_run_as(remora: Remora) -> None:
    words = [
        "--hostuser",
        "games",
        "--user",
        "games",
        "busybox",
        "sh",
        "-c",
        "id -u; id -un; grep -c games /etc/passwd",
    ]
    assert remora("run", "--rm", *words).split() == ["5", "games", "1"]
    assert "this host has no such user" in refused(remora, "--hostuser", "nosuch")


def test_what_a_container_adds_to_its_users_stays(remora: Remora) -> None:
    script = "echo new:x:7:7::/:/bin/sh >> /etc/passwd; grep -c . /etc/passwd"
    remora("create", "--name", "kept", "-u", "0:4321", "--hostuser", "games", "busybox", "sh", "-c", script)
    first = int(remora("start", "-a", "kept"))
    assert int(remora("start", "-a", "kept")) == first + 1


def test_users_are_looked_up_in_what_is_mounted_over_the_image_s(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\nmine:x:777:778::/srv:/bin/sh\n")
    mount = f"{tmp_path}/passwd:/etc/passwd"
    assert remora("run", "--rm", "-v", mount, "-u", "mine", "busybox", "sh", "-c", "id -u; echo $HOME").split() == [
        "777", "/srv",
    ]  # fmt: skip


# ---- --security-opt ---------------------------------------------------------------------------


def test_no_new_privileges_holds_for_all_processes(remora: Remora) -> None:
    remora("run", "-d", "--name", "nnp", "--security-opt", "no-new-privileges", "busybox", "sleep", "1000")
    show = ("grep", "NoNewPrivs", "/proc/1/status", "/proc/self/status")
    assert [line.split()[-1] for line in remora("exec", "nnp", *show).split("\n")] == ["1", "1"]
    words = ["--security-opt", "no-new-privileges:false", "busybox", "grep", "NoNewPrivs", "/proc/self/status"]
    assert remora("run", "--rm", *words).split()[-1] == "0"


def test_a_profile_is_used_from_whatever_folder_it_was_named(remora: Remora, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errno": "EXDEV"}],
    }
    (tmp_path / "no-mkdir.json").write_text(json.dumps(profile))
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        words = ["--security-opt", "seccomp=no-mkdir.json", "busybox", "mkdir", "/x"]
        remora("create", "--name", "shut", *words)
    finally:
        os.chdir(before)
    for _ in range(2):
        assert "ross-device" in remora.run("start", "-a", "shut", status=1).stderr
    words = ["--privileged", "--security-opt", f"seccomp={tmp_path}/no-mkdir.json", "busybox", "mkdir", "/x"]
    remora.run("run", "--rm", *words, status=1)


def test_unconfined_has_no_filter(remora: Remora) -> None:
    words = ["--security-opt", "seccomp=unconfined", "busybox", "grep", "Seccomp:", "/proc/self/status"]
    assert remora("run", "--rm", *words).split()[-1] == "0"


def test_a_profile_that_is_wrong_is_told_with_line_and_column(remora: Remora, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(
        '{\n  "defaultAction": "SCMP_ACT_ERRNO",\n  "syscalls": [\n    {"names": ["read"] "action": 1}\n  ]\n}'
    )
    error = refused(remora, "--security-opt", f"seccomp={path}")
    assert f"{path}, line 4, column 24:" in error
    path.write_text('{\n  "defaultAction": "SCMP_ACT_ERNO"\n}')
    error = refused(remora, "--security-opt", f"seccomp={path}")
    assert f"{path}, line 2, column 20:" in error and "did you mean SCMP_ACT_ERRNO?" in error
    path.unlink()
    assert "No such file" in refused(remora, "--security-opt", f"seccomp={path}")


def test_a_profile_that_breaks_later_keeps_the_container_from_starting(remora: Remora, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    remora("create", "--name", "late", "--security-opt", f"seccomp={path}", "busybox", "true")
    path.write_text('{"defaultAction": "SCMP_ACT_ALLOW",')
    result = remora.run("start", "late", status=125)
    assert "line 1, column 36" in result.stderr and result.stderr.count("\n") == 1
    assert remora("inspect", "-f", "{{.State.Status}}", "late") == "created"


def test_paths_are_hidden_and_shown(remora: Remora) -> None:
    words = ["--security-opt", "mask=/etc/group:/home", "busybox", "sh", "-c", "cat /etc/group; ls /home; echo end"]
    assert remora("run", "--rm", *words) == "end"
    count = "grep -c ' /proc/' /proc/self/mountinfo || true"
    assert remora("run", "--rm", "--security-opt", "unmask=ALL", "busybox", "sh", "-c", count) == "0"
    show = ("cat", "/proc/mounts")
    some = remora("run", "--rm", "--security-opt", "unmask=/proc/s*:/proc/kcore", "busybox", *show)
    assert "/proc/sys " not in some and "/proc/kcore" not in some and "/proc/irq " in some


def test_proc_is_mounted_with_the_options_asked_for(remora: Remora) -> None:
    words = ["--security-opt", "proc-opts=hidepid=invisible,gid=7", "busybox", "grep", "^proc /proc ", "/proc/mounts"]
    line = remora("run", "--rm", *words)
    assert "gid=7" in line and ("hidepid=invisible" in line or "hidepid=2" in line)


@pytest.mark.parametrize(
    ("option", "texts"),
    [
        ("secomp=x", ("did you mean seccomp?",)),
        ("seccomp=", ("the value is missing",)),
        ("apparmor=nosuch", ("AppArmor is not enabled", "leave it out")),
        ("mask=relative", ('"relative" is not absolute',)),
        ("proc-opts=what", ('unknown option "what"',)),
        ("label=colour:red", ('"colour:red"',)),
        ("no-new-privileges=perhaps", ('"perhaps"',)),
    ],
)
def test_a_security_option_that_makes_no_sense_is_one_line(remora: Remora, option: str, texts: Sequence[str]) -> None:
    if option.startswith("apparmor") and Path("/sys/kernel/security/apparmor").exists():
        pytest.skip("AppArmor is there")
    error = refused(remora, "--security-opt", option)
    assert all(text in error for text in texts)


def test_options_without_effect_here_are_taken(remora: Remora) -> None:
    words = ["--security-opt", "label=disable", "--security-opt", "apparmor=unconfined"]
    assert remora("run", "--rm", *words, "busybox", "echo", "fine") == "fine"


# ---- devices, parameters, limits --------------------------------------------------------------


@pytest.mark.skipif(not FUSE.exists(), reason="there is no /dev/fuse")
def test_a_device_is_there_with_the_access_asked_for(remora: Remora) -> None:
    show = "ls -l /dev/other; (: < /dev/other) && echo read; (: > /dev/other) && echo write"
    status = FUSE.stat()
    number = f"{os.major(status.st_rdev)},".ljust(4) + f"{os.minor(status.st_rdev)}".rjust(4)
    words = ["--device", "/dev/fuse:/dev/other:r", "busybox", "sh", "-c", f"{show}; true"]
    found = remora("run", "--rm", *words).split("\n")
    assert found[0].startswith("c" + stat.filemode(status.st_mode)[1:]) and number.split(",")[0] in found[0]
    assert found[1:] == ["read"]
    words = ["--device", "/dev/fuse", "busybox", "sh", "-c", "{ : < /dev/fuse; : > /dev/fuse; } && echo both"]
    assert remora("run", "--rm", *words) == "both"


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="there is no /dev/net")
def test_the_devices_of_a_folder_are_given(remora: Remora) -> None:
    assert remora("run", "--rm", "--device", "/dev/net:/dev/nets", "busybox", "ls", "/dev/nets") == "tun"


@pytest.mark.skipif(not FUSE.exists(), reason="there is no /dev/fuse")
def test_a_rule_of_the_device_cgroup_opens_a_device_by_number(remora: Remora) -> None:
    script = "mknod /tmp/node c 10 229 && : < /tmp/node && echo open"
    words = ["--cap-add", "MKNOD", "busybox", "sh", "-c", script]
    assert "ermitted" in remora.run("run", "--rm", *words, status=1).stderr
    assert remora("run", "--rm", "--device-cgroup-rule", "c 10:229 rwm", *words) == "open"
    assert remora("run", "--rm", "--device-cgroup-rule", "c  10:*  rm", *words) == "open"


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("--device", "/dev/nosuch"), ("/dev/nosuch", "no such file")),
        (("--device", "/etc/passwd"), ("/etc/passwd is no device", "-v")),
        (("--device", "/dev/null:/dev/x:rq"), ('"rq"',)),
        (("--device", "null"), ('"null" is not absolute',)),
        (("--device-cgroup-rule", "c 10 rwm"), ("c 10:229 rwm",)),
        (("--sysctl", "kernel.panic=1"), ("the whole host's",)),
        (("--sysctl", "kernel.hostname=x"), ("use --hostname",)),
        (("--sysctl", "kernel.shmax=1"), ("did you mean kernel.shmmax?",)),
        (("--sysctl", "net.core.somaxcon=1"), ("did you mean net.core.somaxconn?",)),
        (("--sysctl", "net.core.somaxconn"), ("NAME=VALUE",)),
        (("--sysctl", "net/../../../etc/x=1"), ("invalid value",)),
        (("--network", "host", "--sysctl", "net.core.somaxconn=5"), ("the host's network namespace",)),
        (("--oom-score-adj", "1001"), ("too large",)),
        (("--oom-score-adj", "much"), ('"much"',)),
        (("--ulimit", "nofile=5:4"), ("above the hard one",)),
        (("--umask", "99"), ('"99"',)),
    ],
)
def test_what_can_t_be_is_one_line(remora: Remora, options: Sequence[str], texts: Sequence[str]) -> None:
    error = refused(remora, *options)
    assert all(text in error for text in texts), error


def test_parameters_of_its_namespaces_are_set(remora: Remora) -> None:
    options = ["net.core.somaxconn=777", "net/ipv4/ip_forward=1", "kernel.shmmni=99", "fs.mqueue.msg_max=11"]
    options.append("kernel.domainname=sea.example")
    words = [word for text in options for word in ("--sysctl", text)]
    files = "net/core/somaxconn net/ipv4/ip_forward kernel/shmmni fs/mqueue/msg_max kernel/domainname"
    found = remora("run", "--rm", *words, "busybox", "sh", "-c", f"cd /proc/sys; cat {files}").split()
    assert found == ["777", "1", "99", "11", "sea.example"]
    assert Path("/proc/sys/kernel/domainname").read_text().strip() != "sea.example"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--sysctl", "net.ipv4.conf.eth9.forwarding=1"), "check --sysctl"),
        (("--sysctl", "net.core.somaxconn=many"), "check --sysctl"),
        (("--security-opt", "proc-opts=hidepid=99"), "check --security-opt proc-opts"),
    ],
)
def test_what_only_the_kernel_refuses_has_a_remedy(remora: Remora, options: Sequence[str], text: str) -> None:
    assert text in refused(remora, "--rm", *options)


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ('seccomp_profile = "/nosuch"', ("seccomp_profile", "/nosuch", "No such file")),
        ('default_ulimits = ["nofil=3"]', ("default_ulimits", '"nofil"')),
        ('default_sysctls = ["vm.swappiness=1"]', ("default_sysctls", "vm.swappiness")),
        ('devices = ["/dev/nosuch"]', ("devices", "/dev/nosuch")),
        ('oom_score_adj = "x"', ("oom_score_adj", "a whole number")),
        ("oom_score_adj = 2000", ("oom_score_adj", "the most is 1000")),
        ('default_capabilities = "x"', ("default_capabilities", "a list")),
    ],
)
def test_a_setting_that_can_t_be_is_told_with_its_file(
    remora: Remora, tmp_path: Path, line: str, texts: Sequence[str]
) -> None:
    result = remora.run("run", "busybox", "true", env=configured(tmp_path, line), status=125)
    assert result.stderr.count("\n") == 1 and str(tmp_path / "containers.conf") in result.stderr
    assert all(text in result.stderr for text in texts), result.stderr
    host.assert_nothing_left(remora, set())


def test_a_profile_of_the_settings_is_used_unless_one_is_given(remora: Remora, tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO"}]}
    (tmp_path / "p.json").write_text(json.dumps(profile))
    environment = configured(tmp_path, f'seccomp_profile = "{tmp_path}/p.json"')
    remora.run("run", "--rm", "busybox", "mkdir", "/x", env=environment, status=1)
    words = ["--security-opt", "seccomp=unconfined", "busybox", "mkdir", "/x"]
    remora.run("run", "--rm", *words, env=environment)


def test_parameters_of_namespaces_that_are_not_its_own_are_refused(remora: Remora) -> None:
    remora("run", "-d", "--name", "other", "busybox", "sleep", "1000")
    for options, text in (
        (("--ipc", "host", "--sysctl", "kernel.shmmni=1"), "the host's ipc namespace"),
        (("--uts", "host", "--sysctl", "kernel.domainname=x"), "the host's uts namespace"),
        (("--network", "container:other", "--sysctl", "net.core.somaxconn=5"), "another's network namespace"),
    ):
        result = remora.run("run", "--rm", *options, "busybox", "true", status=125)
        assert text in result.stderr and result.stderr.count("\n") == 1


MAPPED = ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")


def test_in_a_user_namespace_of_its_own_the_same_options_hold(remora: Remora) -> None:
    script = "(: < /dev/fuller) && echo read; (echo x > /dev/zilch) && echo wrote; id -G"
    words = [*MAPPED, "--device", "/dev/full:/dev/fuller:r", "--device", "/dev/null:/dev/zilch", "--group-add", "77"]
    assert remora("run", "--rm", *words, "busybox", "sh", "-c", script).split("\n") == ["read", "wrote", "0 77"]
    words = [*MAPPED, "--user", "4321:8765", "--sysctl", "net.core.somaxconn=55", "busybox", "sh", "-c"]
    found = remora("run", "--rm", *words, "whoami; cat /proc/sys/net/core/somaxconn; grep CapEff /proc/self/status")
    assert found.split()[:2] == ["4321", "55"] and int(found.split()[-1], 16) == 0
    assert capabilities(remora, *MAPPED)["Eff"] == DEFAULT
    assert (
        "only root of the host"
        in remora.run("run", *MAPPED, "--sysctl", "kernel.domainname=x", "busybox", "true", status=125).stderr
    )


def test_parameters_of_the_settings_are_set_where_they_fit(remora: Remora, tmp_path: Path) -> None:
    environment = configured(tmp_path, 'default_sysctls = ["net.core.somaxconn=666", "kernel.shmmni=88"]')
    show = ("busybox", "sh", "-c", "cd /proc/sys; cat net/core/somaxconn kernel/shmmni net/ipv4/ping_group_range")
    found = remora.run("run", "--rm", "--sysctl", "kernel.shmmni=77", *show, env=environment).stdout.split()
    assert found == ["666", "77", "1", "0"]
    found = remora.run("run", "--rm", "--network", "host", *show, env=environment).stdout.split()
    assert found[0] == Path("/proc/sys/net/core/somaxconn").read_text().strip() and found[1] == "88"


def test_limits_of_the_settings_and_of_the_host(remora: Remora, tmp_path: Path) -> None:
    environment = configured(tmp_path, 'default_ulimits = ["nofile=111:222", "core=5120:6144"]')
    show = ("busybox", "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c")
    assert remora.run("run", "--rm", *show, env=environment).stdout.split() == ["111", "222", "10"]
    options = ("--ulimit", "nofile=99")
    assert remora.run("run", "--rm", *options, *show, env=environment).stdout.split() == ["99", "99", "10"]
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert remora("run", "--rm", "--ulimit", "host", *show).split()[:2] == [str(soft), str(hard)]


def test_the_oom_score_is_the_one_asked_for_as_far_as_may_be(remora: Remora) -> None:
    show = ("busybox", "cat", "/proc/self/oom_score_adj")
    assert remora("run", "--rm", "--oom-score-adj", "321", *show) == "321"
    result = remora.run("run", "--rm", "--oom-score-adj", "-321", *show)
    own = Path("/proc/self/oom_score_adj").read_text().strip()
    if result.stderr:
        assert result.stderr == f"Warning: --oom-score-adj -321 raised to {own}: this process may set no less\n"
        assert result.stdout.strip() == own
    else:
        assert result.stdout.strip() == "-321"


def test_inspect_tells_the_security_options(remora: Remora) -> None:
    words = ["--device", "/dev/null:/dev/zilch:r", "--group-add", "7", "--oom-score-adj", "5", "--user", "1000"]
    remora(
        "create", "--name", "told", *words, "--sysctl", "net.core.somaxconn=9", "--cap-add", "kill", "busybox", "true"
    )
    entry = json.loads(remora("inspect", "told"))[0]
    assert entry["EffectiveCaps"] == ["CAP_KILL"] and len(entry["BoundingCaps"]) == 11
    settings = entry["HostConfig"]
    assert settings["Devices"] == [
        {"PathOnHost": "/dev/null", "PathInContainer": "/dev/zilch", "CgroupPermissions": "r"}
    ]
    assert (settings["GroupAdd"], settings["OomScoreAdj"], settings["CapAdd"]) == (["7"], 5, ["CAP_KILL"])
