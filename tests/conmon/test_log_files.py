"""k8s-file logs byte for byte, their limits, and what --log-path understands."""

from __future__ import annotations

import json
import re
import stat

import pytest

from tests.conmon.caller import RUNC, Caller
from tests.support.waiting import eventually

PREFIX = 45  # bytes before the content: time, stream, tag


def finish(caller: Caller, script: str, *options: str, log: tuple[str, ...] = ()) -> None:
    """Run a script to its end with these logs."""
    caller.configure(["sh", "-c", script])
    caller.created(caller.spawn(caller.options(*options, log=log)))
    caller.begin()
    caller.code()


def test_a_record_is_exactly_this(caller: Caller) -> None:
    finish(caller, "echo hello")
    line = caller.log.read_bytes()
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00 stdout F hello\n", line), line
    assert len(line) == PREFIX + len("hello\n")


def test_the_time_is_local(caller: Caller) -> None:
    caller.configure(["echo", "x"])
    caller.created(caller.spawn(caller.options(), env={"TZ": "XST-5:30"}))
    caller.begin()
    caller.code()
    assert b"+05:30 stdout F x\n" in caller.log.read_bytes()


def test_streams_tags_and_an_unterminated_end(caller: Caller) -> None:
    finish(caller, "echo a; sleep 0.1; echo b >&2; sleep 0.1; printf c; sleep 0.1; echo d; sleep 0.1; printf end")
    assert caller.records() == [
        ("stdout", "F", "a"),
        ("stderr", "F", "b"),
        ("stdout", "P", "c"),
        ("stdout", "F", "d"),
        ("stdout", "P", "end"),
    ]


def test_empty_lines_and_any_byte(caller: Caller) -> None:
    finish(caller, r"printf '\n\n \001\377\r\t\n\000x\n'")
    assert [record[2] for record in caller.records()] == ["", "", " \x01\udcff\r\t", "\0x"]


def test_a_long_line_is_partial_records_and_a_full_one(caller: Caller) -> None:
    finish(caller, "head -c 20000 /dev/zero | tr '\\0' x > /tmp/x; echo >> /tmp/x; cat /tmp/x")
    records = caller.records()
    assert all(len(content) <= 16384 for _, _, content in records), "readers have buffers of that size"
    assert "".join(content for _, _, content in records) == "x" * 20000
    assert [tag for _, tag, _ in records] == ["P"] * (len(records) - 1) + ["F"]


def test_the_log_is_appended_to(caller: Caller) -> None:
    caller.log.write_text("2026-11-22T00:00:00.000000000+00:00 stdout F old\n")
    finish(caller, "echo new")
    assert [record[2] for record in caller.records()] == ["old", "new"]


def test_the_log_is_nobody_elses(caller: Caller) -> None:
    finish(caller, "echo x")
    assert stat.S_IMODE(caller.log.stat().st_mode) == (0o600 if caller.monitor.is_conmon else 0o640)


@pytest.mark.parametrize("form", ["k8s-file:{}", "{}", ":{}"])
def test_forms_of_a_path(caller: Caller, form: str) -> None:
    finish(caller, "echo x", log=(form.format(caller.log),))
    assert caller.records() == [("stdout", "F", "x")]


@pytest.mark.conmon_fails("a colon ends the path, and the caller looks for another file")
def test_a_path_may_have_a_colon_in_it(caller: Caller) -> None:
    caller.log = caller.folder / "a:b"
    finish(caller, "echo x", log=(f"k8s-file:{caller.log}",))
    assert caller.records() == [("stdout", "F", "x")]


@pytest.mark.parametrize("driver", ["none", "off", "null", "none:"])
def test_drivers_that_log_nothing(caller: Caller, driver: str) -> None:
    finish(caller, "echo x; exit 3", log=(driver,))
    assert caller.code() == "3"
    assert not caller.log.exists()


def test_none_beside_a_file_takes_nothing_away(caller: Caller) -> None:
    finish(caller, "echo x", log=(f"k8s-file:{caller.log}", "none"))
    assert caller.records() == [("stdout", "F", "x")]


def test_of_two_files_the_last_is_written(caller: Caller) -> None:
    other = caller.folder / "other"
    finish(caller, "echo x", log=(f"k8s-file:{other}", f"k8s-file:{caller.log}"))
    assert caller.records() == [("stdout", "F", "x")]


@pytest.mark.conmon_fails("the last one alone")
def test_of_two_files_each_is_written(caller: Caller) -> None:
    other = caller.folder / "other"
    finish(caller, "echo x", log=(f"k8s-file:{other}", f"k8s-file:{caller.log}"))
    assert other.read_bytes() == caller.log.read_bytes() != b""


def test_the_size_limit_is_exact(caller: Caller) -> None:
    # Lines of 10 characters: PREFIX + 11 bytes each; ten of them fit and not a byte more.
    limit = 10 * (PREFIX + 11)
    finish(
        caller, "i=0; while [ $i -lt 95 ]; do printf 'line %05d\\n' $i; i=$((i+1)); done", "--log-size-max", str(limit)
    )
    content = caller.log.read_bytes()
    assert len(content) <= limit
    numbers = [int(content.split()[1]) for _, _, content in caller.records()]
    assert numbers == list(range(numbers[0], 95)), "the newest lines are there, whole and in order"
    assert not caller.log.with_name("log.tmp").exists()


def test_the_size_limit_leaves_a_line_that_fits_exactly(caller: Caller) -> None:
    limit = 3 * (PREFIX + 2)
    finish(caller, "for x in a b c; do echo $x; sleep 0.05; done", "--log-size-max", str(limit))
    assert [content for _, _, content in caller.records()] == ["a", "b", "c"]


def test_one_byte_less_starts_anew(caller: Caller) -> None:
    limit = 3 * (PREFIX + 2) - 1
    finish(caller, "for x in a b c; do echo $x; sleep 0.05; done", "--log-size-max", str(limit))
    assert [content for _, _, content in caller.records()] == ["c"]


@pytest.mark.conmon_fails("the size of the old log is not counted")
def test_the_size_limit_counts_what_was_there(caller: Caller) -> None:
    old = "2026-11-22T00:00:00.000000000+00:00 stdout F " + "o" * 100 + "\n"
    caller.log.write_text(old)
    finish(caller, "echo new", "--log-size-max", str(len(old) + 10))
    assert [content for _, _, content in caller.records()] == ["new"]


@pytest.mark.parametrize("limit", ["-1", "0"])
def test_no_limit(caller: Caller, limit: str) -> None:
    finish(caller, "seq 1 500", "--log-size-max", limit, "--log-global-size-max", limit)
    assert len(caller.records()) == 500


def test_the_global_limit_stops_after_the_line_that_crosses_it(caller: Caller) -> None:
    finish(caller, "for x in 1 2 3 4 5 6 7 8; do echo $x; sleep 0.02; done", "--log-global-size-max", "200")
    assert [content for _, _, content in caller.records()] == ["1", "2", "3", "4", "5"]


def test_a_reader_of_the_truncated_log_keeps_its_file(caller: Caller) -> None:
    caller.run(
        *("sh", "-c", "echo one; while ! test -e /shared/go; do sleep 0.02; done; echo two"),
        options=["--log-size-max", str(PREFIX + 6)],
    )
    caller.logged(("stdout", "F", "one"))
    with open(caller.log, "rb") as reader:
        (caller.shared / "go").touch()
        caller.code()
        assert b"F one\n" in reader.read()
        assert b"F two\n" not in reader.read()
    assert caller.records() == [("stdout", "F", "two")]


def test_no_sync_log_is_taken(caller: Caller) -> None:
    finish(caller, "echo x", "--no-sync-log")
    assert caller.records() == [("stdout", "F", "x")]


def test_all_of_a_large_output_is_logged(caller: Caller) -> None:
    finish(caller, "seq 1 100000; seq 1 1000 >&2")
    out = [content for stream, tag, content in caller.records() if stream == "stdout"]
    numbers = "".join(
        content + ("\n" if tag == "F" else "") for stream, tag, content in caller.records() if stream == "stdout"
    )
    assert numbers == "".join(f"{n}\n" for n in range(1, 100001))
    assert len(out) >= 100000


def test_a_log_on_a_full_disk_stops_neither_container_nor_clients(caller: Caller) -> None:
    # /dev/full takes an open and refuses each write.
    caller.configure(["sh", "-c", "seq 1 5000; exit 3"])
    caller.created(caller.spawn(caller.options(log=("k8s-file:/dev/full",))))
    client = caller.client()
    caller.begin()
    assert client.rest()[2].endswith(b"\n5000\n")
    assert caller.code() == "3"


def test_an_exec_may_have_a_log_of_its_own(caller: Caller) -> None:
    caller.run("sleep", "1000")
    spec = caller.folder / "process.json"
    spec.write_text(json.dumps(caller.process_object(["echo", "from exec"])))
    words = ["--api-version", "1", "-c", caller.id, "-u", "e" * 64, "-r", RUNC, "-p", str(caller.folder / "pid2")]
    words += ["-l", f"k8s-file:{caller.folder}/log2", "-e", "--exec-process-spec", str(spec)]
    words += ["--runtime-arg", "--root", "--runtime-arg", str(caller.folder / "runc")]
    spawned = caller.spawn(words)
    spawned.report()
    assert spawned.report() == {"data": 0}
    eventually(lambda: caller.records(caller.folder / "log2") == [("stdout", "F", "from exec")], "the log")
