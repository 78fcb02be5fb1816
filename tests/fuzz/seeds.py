"""Makes the seed corpora of the fuzz targets: `python tests/fuzz/seeds.py` writes corpus/<target>/ anew.

They are kept in the repository, so that a fuzzer needs no Python. A seed is a valid input of its target, or one that is
wrong in a single telling way; inputs that once made a target fail are added by hand as `found-…` and are left alone.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import msgpack

CORPUS = Path(__file__).parent / "corpus"

ID = "0123456789abcdef" * 4
LINE = b"2026-11-22T05:55:15.888067916Z "

CONFIG: dict[str, object] = {
    "version": 1,
    "id": ID,
    "name": "box",
    "data_dir": "/d",
    "run_dir": "/r",
    "runtime": ["/usr/sbin/runc", "--root", "/r"],
    "env": ["PATH=/bin"],
    "tty": False,
    "stop_signal": 15,
    "log": {"drivers": [{"driver": "none"}]},
    "restart": {"policy": "no", "max": 0},
    "attach": None,
    "remove": [["unlink", "/d/spec.json"], ["tree", "/d"]],
    "uid": 0,
    "gid": 0,
}

RECORD = {"version": 1, "id": ID, "known": True, "code": 3, "signal": 0, "why": "exited", "finished_ns": 1 << 60}


def pack(value: object) -> bytes:
    return bytes(msgpack.packb(value))


def stretch(data: bytes) -> bytes:
    """A length of two bytes, lowest first, and so many bytes: fuzz_stretch of fuzz.h."""
    return struct.pack("<H", len(data)) + data


def messages() -> dict[str, bytes]:
    return {
        "attach": pack({"op": "attach", "session": "", "stdin": True, "stdout": True, "rows": 24, "cols": 80}),
        "exec": pack({"op": "exec", "session": "abc", "preserve_fds": 2, "env": ["A=b", ""], "log": {"op": "x"}}),
        "empty": pack({}),
        "announced": b"\xdf\xff\xff\xff\xff",
        "types": pack({"op": 1, "session": b"\x00", "signal": -1, "env": [None, 1.5, ["a"]], "id": "a\0b"}),
    }


def configs() -> dict[str, bytes]:
    file_sink = {"driver": "k8s-file", "path": "/d/log", "max_size": 4096, "max_files": 3}
    log = {
        "drivers": [file_sink, {"driver": "json-file", "path": "/d/json.log"}, {"driver": "journald"}],
        "tag": "box",
        "labels": ["A=1", "B=2"],
        "stdout": {"policy": "rate", "rate": 100000},
        "stderr": {"policy": "drop"},
    }
    helpers = [{"name": "pasta", "argv": ["/usr/bin/pasta", "--pid", "/r/pasta.pid"], "pidfile": "/r/pasta.pid"}]
    namespaces = [{"type": "network", "path": "/d/ns/network"}, {"type": "ipc", "path": "/d/ns/ipc"}]
    cleanup = [["execute", '{"a": 1}', "/usr/lib/podman/netavark", "teardown", "/d/ns/network"], ["unlink", "/r/lease"]]
    return {
        "outside": pack({**CONFIG, "helpers": helpers, "namespaces": namespaces, "cleanup": cleanup}),
        "bad-helper": pack({**CONFIG, "helpers": [{**helpers[0], "pidfile": "/r/../x"}]}),
        "bad-step": pack({**CONFIG, "cleanup": [["execute", "", ""], ["unlink", "x"], []]}),
        "bad-namespace": pack({**CONFIG, "namespaces": [{"type": "mount", "path": "/d"}, 3]}),
        "none": pack(CONFIG),
        "file": pack({**CONFIG, "log": {"drivers": [{"driver": "k8s-file", "path": "/d/log", "max_size": 0}]}}),
        "drivers": pack({**CONFIG, "log": log}),
        "restart": pack({**CONFIG, "restart": {"policy": "on-failure", "max": 3}, "preserve_fds": 2, "tty": True}),
        "attach": pack({**CONFIG, "attach": {"stdin": True, "block": True}, "remove": [], "rows": 24, "cols": 80}),
        "no-id": pack({**CONFIG, "id": "box"}),
        "version": pack({**CONFIG, "version": 2}),
    }


def slot(sequence: int, payload: bytes) -> bytes:
    """csrc/container/record.h."""
    head = struct.pack("<II", sequence, len(payload))
    return b"RMX1" + head + struct.pack("<I", zlib.crc32(head + payload)) + payload


def records() -> dict[str, bytes]:
    first = slot(1, pack(RECORD))
    second = slot(2, pack({**RECORD, "code": 137}))
    return {
        "one": b"\x00" + first,
        "two": b"\x00" + first.ljust(4096, b"\0") + second,
        "fresh": b"\x04" + first.ljust(4096, b"\0") + second,
        "torn": b"\x00" + first.ljust(4096, b"\0") + second[:40],
        "mended": b"\x03" + slot(7, b"x" * 100)[:12] + bytes(200),
        "last": b"\x03" + slot(0xFFFFFFFF, b"x"),
        "none": b"\x00",
    }


def failures() -> dict[str, bytes]:
    error = b'{"level":"error","msg":"exec: \\"nope\\": executable file not found in $PATH","time":"2026"}\n'
    crun = b'{"msg":"cannot find `x`: \\u0050ermission denied\\n","level":"error","time":"2026"}\n'
    return {
        "runc": b"\x00\x01" + stretch(b'{"level":"warning","msg":"a"}\n' + error),
        "crun": b"\x00\x01" + stretch(crun),
        "stderr": b"\x00\x01" + stretch(b"") + error,
        "words": b"\x00\x01" + stretch(b"") + b"exec format error\r\nsecond line\n",
        "killed": b"\x09\x00" + stretch(b""),
        "cut": b"\x00\x01" + stretch(b'{"level":"error","msg":"a\\u00'),
    }


def relays() -> dict[str, bytes]:
    out, err, exit_record = b"\x02hello\n", b"\x03oops\n", b"\x05" + pack(RECORD)
    lagging = b"\x00" + pack({"event": "lagging"})
    return {
        "exit": b"\x00" + b"".join(map(stretch, (out, err, out, exit_record))),
        "lost": b"\x01" + b"".join(map(stretch, (out, err))),
        "lagging": b"\x08" + b"".join(map(stretch, (out, lagging))),
        "odd": b"\x04" + b"".join(map(stretch, (b"\x02", b"\x04\x92\x01\x02", b"\x00\xc1", b"\xff", exit_record, out))),
        "long": b"\x02" + stretch(b"\x02" + b"x" * 3000) + stretch(b"\x05" + b"x" * 5000),
    }


def request(op: str, flags: int = 8, **fields: object) -> bytes:
    """A control packet of a client, as the target `control` takes it."""
    return bytes([flags]) + stretch(b"\0" + pack({"op": op, **fields}))


def controls() -> dict[str, bytes]:
    attach = request(
        "attach", session="", stdin=True, stdout=True, stderr=True, block=False, owner=True, rows=9, cols=9
    )
    slow = request("attach", flags=32, session="", stdin=True, block=True)
    run = request("exec", flags=8 | 2, session="abc", tty=False, stdin=True, preserve_fds=1)
    typed = bytes([64 | 8]) + stretch(b"\x01hello\n")
    end = bytes([8]) + stretch(b"\x01")
    resize = bytes([8]) + stretch(b"\x04" + pack([24, 80]))
    return {
        "attach": b"\x00" + attach + typed + bytes([32 | 8]) + stretch(b"") + end + request("close_output", stream=""),
        "terminal": b"\x01" + attach + resize + request("resize", session="", rows=1, cols=2) + typed + end,
        "stop": b"\x00" + attach + request("wait", flags=1, condition="removed") + request("stop", signal=9, timeout=1),
        "kill": b"\x02"
        + request("wait", condition="running")
        + request("signal", signal=9)
        + request("status", flags=9),
        "restart": b"\x02" + request("stop", signal=15, timeout=0, keep=True) + request("stop") + request("status"),
        "long": b"\x00" + request("stop", timeout=1 << 62) + request("stop", signal=15, timeout=-(1 << 62)),
        "exec": b"\x00" + run + request("exec", session="zz") + request("exec", flags=14, session="ab", detach=True),
        "pause": b"\x00" + request("pause") + request("unpause", flags=9) + request("rename", name="other"),
        "slow": b"\x00" + slow + (bytes([32]) + stretch(b"")) * 8 + bytes([16]) + stretch(b"") + attach,
        "full": b"\x00" + slow + (bytes([0]) + stretch(b"\x01" + b"x" * 2000)) * 8 + bytes([64]) + stretch(b""),
        "newer": b"\x00"
        + request("log_reopen")
        + request("upgrade")
        + request("nothing")
        + bytes([8])
        + stretch(b"\x09"),
    }


def handovers() -> dict[str, bytes]:
    session = {"tty": 0, "out.source.fd": 20, "err.source.fd": 21, "in.fd": 22, "started": 1, "process.pid": 4242}
    call = {"state": 1, "kind": 0, "number": 3, "phase": "start container", "child.pid": 77, "child.pidfd.fd": 30}
    container = {"state": 1, "stdio.in": -1, "record.fd": 12, "outcome.why": "exited", "outcome.error": "x" * 600}
    container |= {"failure.phase": "run", "restarts": 3, "pauser": 14, "call": call, "pausing": call}
    container |= {"session": {**session, "pending": b"typed"}}
    one = {"id": "ab", "detached": 1, "rows": 24, "requester": 14, "call": call, "session": session}
    client = {"source.fd": 14, "wants_out": 1, "wait": 2, "wait_op": "stop", "attached": "ab", "queue": [b"\2out", b""]}
    state: dict[str, object] = {"version": 1, "name": "box", "n_calls": 3, "begun": 1, "lock_fd": 5, "run_dir_fd": 9}
    state |= {"log": {"sequence": 1, "buckets": [0] * 6, "targets": []}, "exec_results": bytes(16 * 72)}
    keeper = {"workers": 2, "config": pack(CONFIG), "ends": [77, 256, 1000, 4096]}
    full = state | {"container": container, "execs": [one], "clients": [client, client | {"attached": ""}]}

    def both(worker: object, own: object) -> bytes:
        return stretch(pack(worker)) + stretch(pack(own))

    one_helper = {"state": 2, "starts": 3, "error": "it ended", "process.pid": 99, "process.pidfd.fd": 40, "call": call}
    helpers = [{"name": f"h{i}", "argv": ["/bin/h"], "pidfile": f"/r/h{i}.pid"} for i in range(3)]
    outside = pack({**CONFIG, "helpers": helpers, "cleanup": [["unlink", "/r/lease"], ["execute", "", "/bin/true"]]})
    cleaning = container | {"state": 5, "cleaned": 1, "helpers_over": 1, "call": call | {"kind": 8, "item": 70000}}
    return {
        "helpers": both(full | {"helpers": [one_helper, {}, one_helper | {"state": 1}]}, keeper | {"config": outside}),
        "cleaning": both(full | {"container": cleaning, "helpers": [5, {"state": 77}]}, keeper | {"config": outside}),
        "full": both(full, keeper),
        "bare": both(state | {"container": {"session": {}, "call": {}, "pausing": {}}}, keeper),
        "terminal": both(
            full | {"container": container | {"session": session | {"tty": 1, "err.source.fd": -1}}}, keeper
        ),
        "version": both(full | {"version": 2}, keeper),
        "no-config": both(full | {"config": pack(CONFIG)}, {"workers": 1}),
        "many-ends": both(full, keeper | {"ends": list(range(1, 40))}),
        "odd": both(full | {"container": {"session": 5, "state": "x"}, "execs": [3], "clients": [None]}, keeper),
    }


def cri_logs() -> list[bytes]:
    return [
        LINE + b"stdout F hello\n" + LINE + b"stderr P par\n" + LINE + b"stderr F tial\n",
        LINE + b"stdout F \x1b[31mred\x1b[0m \x1b]0;title\x07\r\n" + LINE + b"stdout F \xc3\xa9\xe2\x82\xac\n",
        b"not a log\n\n" + LINE + b"stdout X odd\n" + LINE + b"stdout F the end is missing",
        (LINE + b"stdout F " + b"x" * 40 + b"\n") * 30,
        b"2026-11-22T07:55:15+02:00 stdout P:more a\n2026-11-22T05:55:16.1Z stdout F b\n",
    ]


def json_logs() -> list[bytes]:
    tail = b',"time":"2026-11-22T05:55:15.888067916Z"}\n'
    return [
        b'{"log":"hello\\n","stream":"stdout"' + tail + b'{"log":"par","stream":"stderr"' + tail,
        b'{"log":"\\u001b[31mred \\u00e9\\ud83d\\ude00 \\"q\\" \\\\ \\u0000\\r\\n","stream":"stdout"' + tail,
        b'{"stream":"stdout","log":"a\\tb\\n","attrs":{"tag":"x"}' + tail + b'{"log":"cut',
        (b'{"log":"' + b"y" * 40 + b'\\n","stream":"stdout"' + tail) * 20,
    ]


def logs() -> dict[str, bytes]:
    seeds = {}
    for kind, texts in (("cri", cri_logs()), ("json", json_logs())):
        for number, text in enumerate(texts):
            for flags, tail in ((0, 255), (3, 2), (6, 0), (31, 1)):
                seeds[f"{kind}-{number}-{flags}"] = bytes([flags, tail]) + text
    return seeds


def journal_entry(message: bytes, *fields: bytes, binary: bool = True) -> bytes:
    """An entry as `journalctl --output=export` tells it."""
    head = b"__CURSOR=s=cc;i=917;b=32b5;m=34e;t=660d;x=566c\n__REALTIME_TIMESTAMP=1795337849863847\n"
    size = struct.pack("<Q", len(message))
    text = b"MESSAGE\n" + size + message + b"\n" if binary else b"MESSAGE=" + message + b"\n"
    return head + b"".join(field + b"\n" for field in fields) + text + b"\n"


def journal_entries() -> dict[str, bytes]:
    partial = b"CONTAINER_PARTIAL_MESSAGE=true"
    return {
        "lines": journal_entry(b"out\n", b"PRIORITY=6") + journal_entry(b"err\n", b"PRIORITY=3"),
        "pieces": journal_entry(b"par", b"PRIORITY=6", partial, binary=False) + journal_entry(b"tial\n"),
        "docker": journal_entry(b"no newline", binary=False) + journal_entry(b"", binary=False),
        "bytes": journal_entry(b"\n\n\0\xff\n=\n", b"PRIORITY=9"),
        "long": b"MESSAGE\n" + b"\xff" * 8 + b"x\n\n",
        "odd": b"=\n\n" + b"MESSAGE\n" + struct.pack("<Q", 3) + b"abcd\n\n",
    }


def ctl_lines() -> dict[str, bytes]:
    return {
        "resize": b"\xff1 24 80\n1 0 0\n1 -1 5\n",
        "reopen": b"\x002 0 0\n2 0\n3 1 1\n",
        "window": b"\x03 24  80 rest\n0032 +7\n",
        "numbers": b"\x101 99999999999 -99999999999\n1 2147483648 65535\n1 65536 1\nx\n\n",
        "long": b"\x3f" + b"1 2 3" + b" " * 300 + b"\n1 5 5\n" + b"y" * 199 + b"\n" + b"z" * 198 + b"\n1 1 1",
    }


def words(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in texts)


def conmon_options() -> dict[str, bytes]:
    base = ("--api-version", "1", "-c", ID, "-u", ID, "-r", "/bin/true", "-b", "/b", "--exit-dir", "/e")
    return {
        "podman": words(*base, "--full-attach", "-s", "-l", "k8s-file:/b/ctr.log", "--log-level", "warning", "-t"),
        "exec": words(*base, "-e", "--exec-attach", "--exec-process-spec", "/s", "-l", "none", "--exit-delay=5"),
        "logs": words(*base, "-l", "journald", "-l", "/a:b:c", "-l", ":x", "--log-tag=t", "--log-label=A=b"),
        "labels": words(*base, "-l", "journald", "--log-label", "a=b", "--log-label==", "--log-label=A=B=C"),
        "refused": words("--bogus"),
        "numbers": words(*base, "--log-size-max=99999999999999999999", "--timeout", "-1", "-l", "::"),
        "link": words(*base, "-l", "off", "--socket-dir-path", "/" + "d" * 41, "--log-rotate", "--log-max-files=0"),
        "more": words("--sync", "--no-pivot", "--runtime-arg=a", "--exit-command-arg", "b", "--", "rest", "--cid"),
    }


def notifies() -> dict[str, bytes]:
    return {
        "ready": b"READY=1\nSTATUS=up and running\nMAINPID=7\n",
        "others": b"XREADY=1\nREADY=12\n\nWATCHDOG=trigger\nWATCHDOG=1\nFDSTORE=1\nERRNO=2",
        "nul": b"STATUS=a\0b\nSTOPPING=1\nRELOADING=1\nMONOTONIC_USEC=5\nBUSERROR=x\n\n",
        "empty": b"",
    }


TARGETS = {
    "config": configs,
    "conmon_options": conmon_options,
    "control": controls,
    "ctl_lines": ctl_lines,
    "failure": failures,
    "journal_entry": journal_entries,
    "handover": handovers,
    "log_reader": logs,
    "message": messages,
    "notify": notifies,
    "record": records,
    "relay": relays,
}


def main() -> None:
    for target, make in TARGETS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if not old.name.startswith("found-"):
                old.unlink()
        for name, seed in make().items():
            (folder / name).write_bytes(seed)


if __name__ == "__main__":
    main()
