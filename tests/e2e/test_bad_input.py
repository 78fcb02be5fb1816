"""What a user may get wrong: one line that names the thing and the remedy, the right status, nothing left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support import host


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The only line on stderr, apart from progress; no traceback."""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("Trying to pull ")]
    assert len(lines) == 1, f"not one line: {result.stderr!r}"
    assert "Traceback" not in lines[0]
    return lines[0]


def refused(remora: Remora, *arguments: str, status: int = 125, says: tuple[str, ...] = ()) -> str:
    """The error line of a command that must fail so, with all these texts in it."""
    result = remora.run(*arguments, status=status)
    line = one_line(result)
    assert line.startswith("Error: ")
    missing = [text for text in says if text not in line]
    assert not missing, f"{missing} not in: {line}"
    assert result.stdout == ""
    return line


@pytest.fixture
def clean(remora: Remora) -> Iterator[Remora]:
    """The test must leave nothing: no container, process, mount, cgroup, name or image use."""
    yield remora
    host.assert_nothing_left(remora, host.known_ids(remora))


# ---- images ----


def test_a_short_name_that_no_registry_is_searched_for_is_unknown(clean: Remora) -> None:
    refused(clean, "run", "nosuchimage", "true", says=("nosuchimage", "docker.io/library/nosuchimage"))


def test_an_image_that_may_not_be_pulled_is_unknown(clean: Remora) -> None:
    refused(clean, "run", "--pull", "never", "localhost/other:1", "true", says=("localhost/other:1",))


def test_a_registry_that_refuses_is_named(clean: Remora) -> None:
    name = "127.0.0.1:1/some/image:1"
    for command in (("run", name, "true"), ("create", name), ("pull", name)):
        refused(clean, *command, says=(name, "127.0.0.1:1 refuses connections", "is it running"))


@pytest.mark.parametrize("name", ["UPPER", "a b", "x:", "x@sha256:1", "http://x/y", "-", "a/../b", ""])
def test_what_is_no_image_name_is_refused(clean: Remora, name: str) -> None:
    refused(clean, "run", "--", name, "true")


def test_removing_or_tagging_an_unknown_image_names_it(clean: Remora) -> None:
    refused(clean, "rmi", "nosuch", status=1, says=("nosuch",))
    refused(clean, "tag", "nosuch", "other", says=("nosuch",))
    refused(clean, "save", "-o", "/dev/null", "nosuch", says=("nosuch",))


def test_an_archive_that_is_none_is_named(clean: Remora, tmp_path: Path) -> None:
    path = tmp_path / "archive.tar"
    path.write_bytes(b"no archive" * 1000)
    refused(clean, "load", "-i", str(path), says=(str(path),))
    refused(clean, "load", "-i", str(tmp_path / "missing.tar"), says=("missing.tar",))
    refused(clean, "import", str(tmp_path / "missing.tar"), "x", says=("missing.tar",))
    refused(clean, "import", str(path), "x", says=(str(path),))


# ---- commands ----


@pytest.mark.parametrize("mode", [[], ["-d"], ["--rm"], ["-d", "--rm"]], ids=["", "-d", "--rm", "-d --rm"])
def test_a_command_not_found_is_127(remora: Remora, mode: list[str]) -> None:
    for command in ("nosuchcmd", "/no/such/cmd"):
        line = refused(
            remora, "run", *mode, "--name", "c", "busybox", command, status=127, says=(command, "--entrypoint")
        )
        assert "starting container c" in line
        remora.run("rm", "-f", "c")
        host.assert_nothing_left(remora, host.known_ids(remora))


def test_a_command_that_cannot_be_executed_is_126(clean: Remora) -> None:
    for command in ("/etc", "/etc/passwd"):
        refused(clean, "run", "--rm", "busybox", command, status=126, says=(command, "may be executed"))
        refused(clean, "run", "--rm", "--entrypoint", command, "busybox", status=126, says=(command,))


def test_a_start_that_failed_leaves_a_container_that_says_why_and_can_be_removed(clean: Remora) -> None:
    refused(clean, "run", "-d", "--name", "c", "busybox", "nosuchcmd", status=127)
    assert clean("ps", "-a", "--format", "{{.Names}} {{.State}}") == "c created"
    assert "nosuchcmd" in clean("inspect", "-f", "{{.State.Error}}", "c")
    assert clean("inspect", "-f", "{{.State.ExitCode}}", "c") == "127"
    refused(clean, "start", "c", status=127, says=("nosuchcmd",))
    clean("rm", "c")


def test_a_bad_exec_names_the_command_and_leaves_the_container_alone(clean: Remora) -> None:
    clean("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    refused(clean, "exec", "c", "nosuchcmd", status=127, says=("nosuchcmd", "the container has no program"))
    refused(clean, "exec", "c", "/etc/passwd", status=126, says=("/etc/passwd", "may be executed"))
    refused(clean, "exec", "-w", "/nodir", "c", "true", status=127, says=("/nodir", "--workdir"))
    refused(clean, "exec", "-u", "nosuch", "c", "true", status=126, says=("nosuch", "user"))
    refused(clean, "exec", "-d", "c", "nosuchcmd", status=127, says=("nosuchcmd",))
    assert clean("exec", "c", "echo", "fine") == "fine"
    assert clean("ps", "--format", "{{.Names}}") == "c"
    clean("rm", "-f", "-t", "0", "c")


# ---- folders and users ----


def test_a_working_directory_that_is_missing_or_no_folder_is_126(clean: Remora) -> None:
    refused(clean, "run", "--rm", "-w", "/nodir", "busybox", "true", status=126, says=("/nodir", "-v"))
    refused(clean, "run", "--rm", "-w", "/etc/passwd", "busybox", "true", status=126, says=("/etc/passwd",))
    refused(clean, "run", "--rm", "-w", "relative", "busybox", "true", says=("relative",))


@pytest.mark.parametrize("user", ["nosuch", "0:nosuch", "nosuch:0", "4294967296", "-1", "a:b:c"])
def test_an_unknown_user_or_group_is_named(clean: Remora, user: str) -> None:
    line = refused(clean, "run", "--rm", f"--user={user}", "busybox", "true", status=126)
    assert any(part in line for part in user.split(":"))


def test_a_bad_user_of_a_container_that_stays_can_be_seen_and_removed(clean: Remora) -> None:
    refused(clean, "run", "--name", "c", "-u", "nosuch", "busybox", "true", status=126, says=("nosuch",))
    clean.run("rm", "-f", "c")


# ---- names ----


def test_a_name_in_use_says_by_whom(clean: Remora) -> None:
    container = clean("create", "--name", "taken", "busybox")
    for command in (("run", "-d"), ("create",)):
        refused(clean, *command, "--name", "taken", "busybox", says=('"taken"', container, "rm taken", "--name"))
    other = clean("create", "--name", "other", "busybox")
    refused(clean, "rename", "other", "taken", says=('"taken"', container))
    assert sorted(clean("ps", "-a", "--format", "{{.Names}}").split()) == ["other", "taken"]
    clean("rm", "taken", other)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "", " ", "-x", "a\nb", "a\x1b[31m", "ä", "x" * 5000])
def test_what_is_no_container_name_is_refused(clean: Remora, name: str) -> None:
    line = refused(clean, "run", f"--name={name}", "busybox", "true", says=("name",))
    assert "\x1b" not in line and len(line) < 1000
    assert not (clean.root / "x").exists() and not (clean.root.parent / "x").exists()


@pytest.mark.parametrize("name", ["../x", "../../etc", "..", "/", "", "*", "a/b", "\x1b[31m"])
def test_names_with_paths_in_them_name_no_container(clean: Remora, name: str) -> None:
    for command in (["stop"], ["rm"], ["logs"], ["inspect"], ["kill"], ["exec", "--"], ["start"], ["wait"]):
        words = [*command, name, *(["true"] if command[0] == "exec" else [])]
        result = clean.run(*words, status=None)
        assert result.returncode in (1, 125), words
        assert "\x1b" not in one_line(result)


# ---- options ----


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["run", "--nmae", "x", "busybox"], "--name"),
        (["ps", "--al"], "--all"),
        (["run", "--detatch", "busybox"], "--detach"),
        (["logs", "--folow", "x"], "--follow"),
        (["rnu", "busybox"], "run"),
        (["stpo", "x"], "stop"),
    ],
)
def test_an_unknown_option_or_command_gets_a_suggestion(clean: Remora, words: list[str], suggested: str) -> None:
    refused(clean, *words, says=("unknown", f"did you mean {suggested}?", "--help"))


def test_a_missing_argument_or_value_is_named(clean: Remora) -> None:
    refused(clean, "run")
    refused(clean, "exec", "x")
    refused(clean, "run", "--name")
    refused(clean, "rm")
    refused(clean, "frobnicate", says=("frobnicate", "--help"))


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ("/nosuch:/x", "/nosuch"),
        ("foo", "foo"),
        ("/tmp:relative", "relative"),
        ("/tmp:/x:zz", "zz"),
        ("/tmp:/x:ro:rw", "/tmp:/x:ro:rw"),
        ("", "volume"),
        (":", ":"),
        ("/tmp:", "/tmp:"),
        (":/x", ":/x"),
        ("/tmp:/", "/"),
    ],
)
def test_a_bad_volume_is_named(clean: Remora, volume: str, says: str) -> None:
    refused(clean, "run", "--rm", "-v", volume, "busybox", "true", says=(says,))


@pytest.mark.parametrize(
    "option",
    [
        "--memory=x",
        "--memory=-5",
        "--cpus=none",
        "--pids-limit=many",
        "--restart=sometimes",
        "--restart=on-failure:x",
        "--stop-signal=NOSUCH",
        "--stop-timeout=soon",
        "--cap-add=NOSUCH",
        "--network=nosuch",
        "--log-driver=nosuch",
        "--pull=perhaps",
        "--ulimit=nosuch=1",
        "--ulimit=nofile=2:1",
        "--mount=type=nosuch",
        "--mount=source=/tmp",
        "--tmpfs=relative",
        "--env-file=/no/such/file",
        "--detach-keys=ctrl-?",
        "--attach=stdfoo",
        "--timeout=x",
        "--hostname=a b",
        "--label-file=/no/such",
        "--preserve-fds=99",
        "--rootfs=x",
        "-e==x",
    ],
)
def test_a_bad_value_of_an_option_is_refused_by_name(clean: Remora, option: str) -> None:
    line = refused(clean, "run", "--rm", option, "busybox", "true")
    assert option.split("=")[0].lstrip("-") in line or option.rpartition("=")[2] in line


def test_detached_and_attached_exclude_each_other(clean: Remora) -> None:
    refused(clean, "run", "-d", "-a", "stdout", "busybox", "true", says=("-d", "-a"))


def test_a_cidfile_that_is_there_is_not_overwritten(clean: Remora, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    path.write_text("mine")
    refused(clean, "run", "-d", "--cidfile", str(path), "busybox", "true", says=(str(path),))
    assert path.read_text() == "mine"
    refused(clean, "run", "-d", "--cidfile", str(tmp_path / "no" / "cid"), "busybox", "true", says=("no/cid",))


# ---- containers that are not as they should be ----


def test_what_needs_a_running_container_says_that_it_is_exited_and_what_to_do(clean: Remora) -> None:
    assert clean.run("run", "--name", "e", "busybox", "false", status=1).stderr == ""
    refused(clean, "attach", "e", says=("e is exited", "remora start --attach e"))
    refused(clean, "exec", "e", "true", says=("e is exited", "remora start e"))
    refused(clean, "kill", "e", says=("exited",))
    refused(clean, "pause", "e", says=("exited",))
    refused(clean, "unpause", "e")
    assert clean("stop", "e") == "e"  # is stopped
    clean("rm", "e")


def test_removing_a_running_or_unknown_container_says_what_to_do(clean: Remora) -> None:
    clean("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    refused(clean, "rm", "c", status=2, says=("c", "-f"))
    refused(clean, "rm", "nosuch", status=1, says=("nosuch",))
    refused(clean, "start", "nosuch", says=("nosuch",))
    clean("rm", "-f", "-t", "0", "c")


# ---- a host that lacks something ----


def without(remora: Remora, programs: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run in a mount namespace in which these programs are there, but can't be executed."""
    hide = 'for program in $1; do mount --bind /dev/null $program; done; shift; exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", " ".join(programs), str(PROGRAM), *arguments],
        env=remora.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def places(*names: str) -> list[str]:
    found = [f"{folder}/{name}" for name in names for folder in ("/usr/bin", "/usr/sbin", "/usr/local/bin")]
    return [path for path in found if Path(path).exists()]


def test_without_a_runtime_the_packages_are_named(clean: Remora) -> None:
    for command in (["run", "--rm", "busybox", "true"], ["run", "-d", "--name", "c", "busybox", "true"]):
        result = without(clean, places("runc", "crun"), *command)
        assert result.returncode == 125
        line = one_line(result)
        assert "no OCI runtime" in line and "crun or runc" in line
        clean.run("rm", "-f", "c", status=None)
    for given in ("nosuch", "/no/such", "/etc/passwd"):
        refused(clean, "run", "--rm", "--runtime", given, "busybox", "true", says=(given, "runtime"))
    refused(clean, "run", "--rm", "--runtime", "/bin/false", "busybox", "true", says=("/bin/false",))


def test_without_skopeo_images_of_the_store_still_run_and_the_rest_names_the_package(
    clean: Remora, tmp_path: Path, busybox_tar: Path
) -> None:
    hidden = places("skopeo")
    result = without(clean, hidden, "run", "--rm", "busybox", "echo", "fine")
    assert (result.returncode, result.stdout, result.stderr) == (0, "fine\n", "")
    for command in (
        ["pull", "127.0.0.1:1/x/y:1"],
        ["run", "127.0.0.1:1/x/y:1", "true"],
        ["import", str(busybox_tar), "other"],
        ["save", "-o", str(tmp_path / "saved.tar"), "busybox"],
    ):
        result = without(clean, hidden, *command)
        assert result.returncode == 125, command
        line = one_line(result)
        assert "skopeo" in line and "install" in line
    assert not (tmp_path / "saved.tar").exists()
