"""Log drivers as Podman uses and reads them."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.podman.engine import Podman
from tests.support.waiting import eventually

RECORD = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d (stdout|stderr) [FP] [^\n]*\n")


def run(podman: Podman, script: str, *options: str) -> None:
    """Run a container `c` to its end in the background: nobody is attached."""
    podman.start("sh", "-c", script, options=["--name", "c", *options])
    podman("wait", "c")


def log_file(podman: Podman) -> bytes:
    with open(podman("inspect", "-f", "{{.HostConfig.LogConfig.Path}}", "c"), "rb") as file:
        return file.read()


def test_k8s_file_has_a_record_for_each_line(podman: Podman) -> None:
    run(podman, "echo one; echo two >&2; printf end")
    lines = log_file(podman).splitlines(keepends=True)
    assert all(RECORD.fullmatch(line) for line in lines)
    assert sorted(line.split(b" ", 1)[1] for line in lines) == [b"stderr F two\n", b"stdout F one\n", b"stdout P end\n"]


def test_json_file_is_read_back(podman: Podman) -> None:
    run(podman, "echo one; echo two", "--log-driver", "json-file")
    assert podman.logs("c") == b"one\ntwo\n"


def test_logs_keeps_the_streams_apart(podman: Podman) -> None:
    run(podman, "echo one; echo two >&2; printf end")
    result = podman.run("logs", "c")
    assert result.stdout.startswith(b"one\n")
    assert result.stdout.rstrip(b"\n").endswith(b"end")
    assert result.stderr == b"two\n"


def test_logs_f_follows_to_the_end(podman: Podman) -> None:
    podman.start(
        "sh",
        "-c",
        "echo first; while ! test -e /go; do sleep 0.05; done; seq 1 2000; printf end",
        options=["--name", "c"],
    )
    with podman.popen("logs", "-f", "c") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        podman("exec", "c", "touch", "/go")
        rest = process.stdout.read()
        process.wait(30)
    assert rest.rstrip(b"\n") == b"".join(b"%d\n" % n for n in range(1, 2001)) + b"end"


def test_logs_tail_gives_the_last_lines(podman: Podman) -> None:
    run(podman, "seq 1 1000")
    assert podman.logs("c", "--tail", "3") == b"998\n999\n1000\n"
    assert podman.logs("c", "--tail", "0") == b""


def test_logs_since_and_until_cut_by_time(podman: Podman) -> None:
    run(podman, "echo one; sleep 0.3; echo two")
    first, second = [line.split(b" ")[0].decode() for line in log_file(podman).splitlines()]
    assert podman.logs("c", "--since", first) == b"two\n"
    assert podman.logs("c", "--until", second) == b"one\n"
    assert podman.logs("c", "--since", second) == b""


def test_logs_t_shows_the_time_of_each_line(podman: Podman) -> None:
    run(podman, "echo one; echo two")
    lines = podman.logs("c", "-t").splitlines()
    assert all(re.fullmatch(rb"\d{4}-\d\d-\d\dT\S+ (one|two)", line) for line in lines), lines
    assert len(lines) == 2


def test_logs_joins_a_line_of_megabytes(podman: Podman) -> None:
    run(podman, "head -c 2000000 /dev/zero | tr '\\0' x; echo; echo after")
    assert podman.logs("c") == b"x" * 2000000 + b"\nafter\n"


def test_logs_keeps_any_byte(podman: Podman) -> None:
    run(podman, r"printf '\001\377\200 \033[31m\r\ttab\n\n\n end\n'")
    assert podman.logs("c") == b"\x01\xff\x80 \x1b[31m\r\ttab\n\n\n end\n"


def test_logs_of_a_terminal_have_cr_lf(podman: Podman) -> None:
    run(podman, "echo one; echo two >&2", "-t")
    assert podman.logs("c") == b"one\r\ntwo\r\n"


def test_logs_hold_all_of_a_large_output(podman: Podman) -> None:
    run(podman, "seq 1 200000")
    assert podman.logs("c") == b"".join(b"%d\n" % n for n in range(1, 200001))


def test_logs_of_a_second_run_are_appended(podman: Podman) -> None:
    run(podman, "echo run")
    podman("start", "c")
    podman("wait", "c")
    assert podman.logs("c") == b"run\nrun\n"


def test_log_path_may_be_chosen(podman: Podman) -> None:
    path = podman.folder / "own.log"
    run(podman, "echo one", "--log-opt", f"path={path}")
    assert RECORD.fullmatch(path.read_bytes())
    assert podman.logs("c") == b"one\n"
    path.unlink()


def test_log_max_size_bounds_the_file_and_keeps_the_end(podman: Podman) -> None:
    run(podman, "seq 100001 110000", "--log-opt", "max-size=10kb")
    content = log_file(podman)
    assert len(content) <= 10 * 1024
    lines = content.splitlines(keepends=True)
    assert all(RECORD.fullmatch(line) for line in lines)
    numbers = [int(line.split()[-1]) for line in lines]
    assert numbers == list(range(numbers[0], 110001))


def test_log_driver_none_logs_nothing_and_still_attaches(podman: Podman) -> None:
    assert podman.run("run", "--name", "c", "--log-driver", "none", "busybox", "echo", "seen").stdout == b"seen\n"
    assert b"none" in podman.run("logs", "c", status=125).stderr


def test_log_driver_passthrough_is_the_callers_own_output(podman: Podman) -> None:
    result = subprocess.run(
        [
            *podman.words,
            "run",
            "-d",
            "--name",
            "c",
            "--log-driver",
            "passthrough",
            "busybox",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 3",
        ],
        env=podman.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert podman("wait", "c") == "3"
    assert b"out\n" in result.stdout
    assert b"err\n" in result.stderr


def entries(podman: Podman, wanted: int) -> list[dict[str, object]]:
    """The entries of container `c` in the journal, once there are so many."""
    container = podman("inspect", "-f", "{{.Id}}", "c")

    def found() -> list[dict[str, object]]:
        all_of_it = podman.world.journal(f"CONTAINER_ID_FULL={container}")
        return all_of_it if len(all_of_it) >= wanted else []

    return eventually(found, f"{wanted} entries in the journal")


def text(value: object) -> bytes:
    """journalctl shows what is no text as a list of bytes."""
    return bytes(value) if isinstance(value, list) else str(value).encode()


def test_journald_has_an_entry_for_each_line(podman: Podman) -> None:
    run(podman, "echo one; echo two >&2", "--log-driver", "journald", "--log-opt", "tag=mine")
    one, two = sorted(entries(podman, 2), key=lambda entry: text(entry["MESSAGE"]))
    container = podman("inspect", "-f", "{{.Id}}", "c")
    assert (text(one["MESSAGE"]).strip(), one["PRIORITY"]) == (b"one", "6")
    assert (text(two["MESSAGE"]).strip(), two["PRIORITY"]) == (b"two", "3")
    for entry in (one, two):
        assert entry["CONTAINER_ID"] == container[:12]
        assert entry["CONTAINER_NAME"] == "c"
        assert entry["CONTAINER_TAG"] == "mine"
        assert entry["SYSLOG_IDENTIFIER"] == "mine"


def test_journald_is_read_back_by_logs(podman: Podman) -> None:
    run(podman, "echo one; echo two >&2; echo three", "--log-driver", "journald")
    entries(podman, 3)
    result = podman.run("logs", "c")
    assert (result.stdout, result.stderr) == (b"one\nthree\n", b"two\n")


def test_journald_keeps_an_unterminated_end(podman: Podman) -> None:
    run(podman, "echo one; printf end", "--log-driver", "journald")
    last = entries(podman, 2)[-1]
    assert text(last["MESSAGE"]) == b"end"


def test_journald_takes_a_long_line(podman: Podman) -> None:
    run(podman, "head -c 100000 /dev/zero | tr '\\0' x; echo", "--log-driver", "journald")

    def joined() -> bytes:
        return b"".join(text(entry["MESSAGE"]).rstrip(b"\n") for entry in entries(podman, 1))

    eventually(lambda: joined() == b"x" * 100000, "the whole line is in the journal")


@pytest.mark.parametrize("driver", ["k8s-file", "journald"])
def test_a_log_is_complete_when_the_container_is_waited_for(podman: Podman, driver: str) -> None:
    run(podman, "seq 1 3000", "--log-driver", driver)
    if driver == "journald":
        entries(podman, 3000)
    assert podman.logs("c") == b"".join(b"%d\n" % n for n in range(1, 3001))


def test_logs_f_reaches_the_end_of_a_log_that_is_cut(podman: Podman) -> None:
    script = "i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); done; while ! test -e /go; do sleep 0.05; done"
    podman.start("sh", "-c", f"{script}; echo end", options=["--name", "c", "--log-opt", "max-size=10kb"])
    podman.logged("c", b"line 599\n")
    with podman.popen("logs", "-f", "c") as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"line 599\n":
            pass
        podman("exec", "c", "touch", "/go")
        assert process.stdout.read() == b"end\n"
