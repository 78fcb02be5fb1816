"""What is too long or too large: it works, or one line says what the bound is."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.e2e.test_bad_input import one_line, refused
from tests.support import host

STRING_MAX = 131072  # bytes of one argument or variable with its NUL (execve(2), "Limits on size")


@pytest.fixture
def deep(remora: Remora, tmp_path: Path) -> Remora:
    """Folders whose paths are longer than any socket's name may be (107 bytes)."""
    folder = tmp_path / ("d" * 120) / ("e" * 120)
    remora.root, remora.runroot = folder / "data", folder / "run"
    remora.environment |= {"REMORA_ROOT": str(remora.root), "REMORA_RUNROOT": str(remora.runroot)}
    return remora


def test_folders_with_paths_longer_than_a_socket_s_name_work(deep: Remora) -> None:
    assert deep.run("run", "--rm", "busybox", "sh", "-c", "echo out; exit 3", status=3).stdout == "out\n"
    deep("run", "-d", "-t", "--name", "c", "busybox", "sh", "-c", "echo line; exec sleep 1000")
    assert deep("exec", "c", "echo", "in") == "in"
    assert deep("exec", "-t", "c", "tty").strip() == "/dev/pts/1"
    assert "line" in deep("logs", "c")
    waiting = deep.popen("wait", "c")
    deep("kill", "c")
    assert waiting.communicate(timeout=30)[0] == b"137\n"
    deep("start", "c")
    deep("rm", "-f", "-t", "0", "c")
    host.assert_nothing_left(deep, host.known_ids(deep))


def test_a_path_longer_than_the_kernel_takes_is_refused(remora: Remora, tmp_path: Path) -> None:
    for option in ("--root", "--runroot"):
        long = str(tmp_path) + "/" + "/".join(["x" * 200] * 25)
        line = refused(remora, option, long, "run", "--rm", "busybox", "true")
        assert "too long" in line


def env_file(path: Path, count: int, size: int) -> str:
    path.write_text("".join(f"V{number}={'Q' * size}\n" for number in range(count)))
    return str(path)


def printed(remora: Remora, *arguments: str) -> int:
    """How many bytes of long values a container's environment has."""
    return int(remora(*arguments, "sh", "-c", "env | tr -cd Q | wc -c"))


def test_three_megabytes_of_environment_reach_run_and_exec(remora: Remora, tmp_path: Path) -> None:
    path = env_file(tmp_path / "env", 30, 100000)
    assert printed(remora, "run", "--rm", "--env-file", path, "busybox") == 3000000
    remora("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    assert printed(remora, "exec", "--env-file", path, "c") == 3000000
    remora("rm", "-f", "-t", "0", "c")
    remora("create", "--name", "kept", "--env-file", path, "busybox", "sh", "-c", "env | tr -cd Q | wc -c")
    assert remora("start", "-a", "kept") == "3000000"
    assert len(json.loads(remora("inspect", "kept"))[0]["Config"]["Env"]) > 30


def test_more_environment_than_the_kernel_takes_is_refused_with_the_bound(remora: Remora, tmp_path: Path) -> None:
    path = env_file(tmp_path / "env", 70, 100000)
    refused(remora, "run", "--rm", "--env-file", path, "busybox", "true", says=("700", "at most", "-v FILE"))
    path = env_file(tmp_path / "env", 1, STRING_MAX)
    refused(remora, "run", "--rm", "--env-file", path, "busybox", "true", says=("V0", str(STRING_MAX), "-v FILE"))
    remora("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    refused(remora, "exec", "--env-file", path, "c", "true", says=("V0", str(STRING_MAX), "-v FILE"))
    remora("rm", "-f", "-t", "0", "c")
    host.assert_nothing_left(remora, host.known_ids(remora))


def test_the_longest_value_and_argument_that_the_kernel_takes_work(remora: Remora, tmp_path: Path) -> None:
    longest = "Q" * (STRING_MAX - 1 - len("V0="))
    (tmp_path / "env").write_text(f"V0={longest}\n")
    assert printed(remora, "run", "--rm", "--env-file", str(tmp_path / "env"), "busybox") == len(longest)
    argument = "y" * (STRING_MAX - 1)
    assert remora("run", "--rm", "busybox", "echo", argument) == argument


def test_a_large_environment_of_the_caller_is_no_concern(remora: Remora) -> None:
    own = {f"OWN{number}": "z" * 100000 for number in range(15)}
    result = remora.run("run", "--rm", "-e", "OWN3", "busybox", "sh", "-c", "env | tr -cd z | wc -c", env=own)
    assert result.stdout == "100000\n"


# ---- resource limits ----


def limits(remora: Remora, *options: str) -> tuple[list[str], str]:
    """Soft and hard limit of open files and processes in a container; the warning."""
    result = remora.run("run", "--rm", *options, "busybox", "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -u")
    return result.stdout.split(), result.stderr


def may_raise() -> bool:
    """Whether this process has CAP_SYS_RESOURCE (bit 24)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) & 1 << 24)


@pytest.mark.skipif(may_raise(), reason="with CAP_SYS_RESOURCE every limit can be had")
def test_limits_above_what_may_be_set_are_lowered_with_one_warning(remora: Remora) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    asked = ("--ulimit", f"nofile={files * 2}:{files * 2}", "--ulimit", f"nproc={processes + 1}")
    values, warning = limits(remora, *asked)
    assert values == [str(files), str(files), str(processes)]
    assert warning.count("\n") == 1 and warning.startswith("Warning: --ulimit lowered: ")
    for text in (f"nofile to {files}:{files}", f"nproc to {processes}:{processes}"):
        assert text in warning


def test_limits_that_may_be_set_are_set_without_a_word(remora: Remora) -> None:
    values, warning = limits(remora, "--ulimit", "nofile=100:200", "--ulimit", "nproc=300")
    assert values == ["100", "200", "300"] and warning == ""


@pytest.mark.skipif(may_raise(), reason="with CAP_SYS_RESOURCE every limit can be had")
def test_default_limits_that_are_too_high_are_lowered_for_a_caller_with_little(remora: Remora) -> None:
    """The hard limits of the caller bound the container's, whatever the defaults are; it starts all the same."""
    script = f"ulimit -n 300; exec {PROGRAM} run --rm busybox sh -c 'ulimit -n; ulimit -Hn'"
    result = subprocess.run(
        ["sh", "-c", script],
        env=remora.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout.split()) == (0, ["300", "300"]), result.stderr


@pytest.mark.parametrize("count", [7, 9, 11])
def test_a_caller_with_almost_no_descriptors_is_told_so(remora: Remora, count: int) -> None:
    remora("run", "--rm", "busybox", "true")  # the runtime is chosen
    result = subprocess.run(
        ["sh", "-c", f"ulimit -n {count}; exec {PROGRAM} run --rm busybox true"],
        env=remora.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if result.returncode != 0:
        assert result.returncode == 125
        assert "(raise the limit of open files" in one_line(result)
    # It may have had too few even to clear up after itself: the next command does.
    remora("ps", "-a")
    host.assert_nothing_left(remora, host.known_ids(remora))
