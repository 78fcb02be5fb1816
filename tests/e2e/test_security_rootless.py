"""The security options of an ordinary user's containers."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

from tests.e2e.test_security_options import DEFAULT, sets
from tests.support.village import Person


def run(person: Person, *options: str) -> str:
    return person("run", "--rm", "--network", "none", *options)


def refused(person: Person, *options: str) -> str:
    result = person.run("run", "--network", "none", *options, "busybox", "true", status=125)
    assert result.stderr.count("\n") == 1 and result.stdout == ""
    return result.stderr


SHOW = ("grep", "Cap", "/proc/self/status")


def test_the_sets_are_those_of_root_s_containers(alice: Person) -> None:
    nothing: set[str] = set()
    assert sets(run(alice, "busybox", *SHOW)) == {
        "Inh": nothing, "Prm": DEFAULT, "Eff": DEFAULT, "Bnd": DEFAULT, "Amb": nothing,
    }  # fmt: skip
    found = sets(run(alice, "--user", "1000", "--cap-add", "NET_RAW", "busybox", *SHOW))
    assert (found["Amb"], found["Eff"], found["Bnd"]) == ({"NET_RAW"}, {"NET_RAW"}, DEFAULT | {"NET_RAW"})
    assert "SYS_ADMIN" in sets(run(alice, "--privileged", "busybox", *SHOW))["Eff"]


def test_a_right_over_the_host_is_not_among_them(alice: Person) -> None:
    script = "mknod /tmp/x c 1 3 || echo no node; mount -t tmpfs x /tmp && echo mounted"
    assert run(alice, "--privileged", "busybox", "sh", "-c", script).split("\n") == ["no node", "mounted"]


def test_groups_and_users_are_added(alice: Person) -> None:
    words = ["--user", "4321:8765", "--group-add", "extra", "--hostuser", "games", "busybox", "sh", "-c"]
    found = run(alice, *words, "id -G; whoami; grep -c games /etc/passwd; stat -c %u:%g /etc/passwd").split("\n")
    assert set(found[0].split()) == {"8765", "2000"}
    assert found[1:] == ["4321", "1", "0:0"]


def test_profiles_paths_and_new_privileges(alice: Person) -> None:
    profile = alice.home / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errno": "EXDEV"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    profile.chmod(0o644)
    options = [f"seccomp={profile}", "mask=/etc/group", "unmask=/proc/irq", "no-new-privileges", "proc-opts=hidepid=2"]
    words = [word for option in options for word in ("--security-opt", option)]
    script = (
        "mkdir /x 2>&1; cat /etc/group; grep -E '^proc /proc |/proc/irq' /proc/mounts; grep NoNew /proc/self/status"
    )
    found = run(alice, *words, "busybox", "sh", "-c", script).split("\n")
    assert "ross-device" in found[0]
    assert len(found) == 3 and "hidepid" in found[1] and found[2].split()[-1] == "1"


def test_a_profile_that_is_not_the_user_s_to_read_is_one_line(alice: Person) -> None:
    path = alice.village.folder / "secret.json"
    path.write_text("{}")
    path.chmod(0o600)
    assert "Permission denied" in refused(alice, "--security-opt", f"seccomp={path}")


def test_a_device_is_the_host_s_own_and_as_open_as_it_is(alice: Person) -> None:
    number = os.stat("/dev/null").st_rdev
    words = ["--device", "/dev/null:/dev/zilch", "busybox", "stat", "-c", "%t:%T", "/dev/zilch"]
    assert run(alice, *words) == f"{os.major(number):x}:{os.minor(number):x}"
    assert run(alice, "--device", "/dev/zero:/dev/z", "busybox", "sh", "-c", "head -c 3 /dev/z | wc -c") == "3"
    if Path("/dev/fuse").exists() and not os.stat("/dev/fuse").st_mode & 0o006:
        script = ": < /dev/fuse && echo got; true"
        assert "got" not in run(alice, "--device", "/dev/fuse", "busybox", "sh", "-c", f"({script}) 2>&1; true")
    assert "no device cgroup" in refused(alice, "--device-cgroup-rule", "c 10:229 rwm")


def test_a_privileged_container_has_the_devices_that_a_user_may_open(alice: Person) -> None:
    assert run(alice, "--privileged", "busybox", "sh", "-c", "echo x > /dev/null && ls /dev | wc -l").isdigit()


def test_parameters_are_those_of_its_own_namespaces(alice: Person) -> None:
    options = ["net.ipv4.ip_forward=1", "kernel.shmmni=99", "fs.mqueue.msg_max=11"]
    words = [word for text in options for word in ("--sysctl", text)]
    script = "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmni fs/mqueue/msg_max"
    assert run(alice, *words, "busybox", "sh", "-c", script).split() == ["1", "99", "11"]
    assert "only root of the host" in refused(alice, "--sysctl", "kernel.domainname=sea")
    assert "the whole host's" in refused(alice, "--sysctl", "vm.swappiness=1")


def test_limits_that_the_user_may_not_set_are_lowered_with_a_warning(alice: Person) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    options = ("--ulimit", f"nofile=100:{hard + 1}", "--oom-score-adj", "-5")
    result = alice.run(
        "run", "--rm", "--network", "none", *options, "busybox", "sh", "-c", "ulimit -Hn; cat /proc/self/oom_score_adj"
    )
    assert result.stdout.split() == [str(hard), Path("/proc/self/oom_score_adj").read_text().strip()]
    assert "--ulimit lowered: nofile" in result.stderr and "--oom-score-adj -5 raised" in result.stderr


def test_an_exec_has_the_container_s_options(alice: Person) -> None:
    words = ["--cap-drop", "ALL", "--cap-add", "KILL", "--security-opt", "no-new-privileges", "--group-add", "77"]
    alice("run", "-d", "--name", "one", "--network", "none", *words, "busybox", "sleep", "1000")
    assert sets(alice("exec", "one", *SHOW))["Eff"] == {"KILL"}
    assert alice("exec", "one", "grep", "NoNewPrivs", "/proc/self/status").split()[-1] == "1"
    assert "77" in alice("exec", "one", "id", "-G").split()
    alice("rm", "-f", "-t", "0", "one")
