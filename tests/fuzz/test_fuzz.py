"""Feeds the fuzz targets with seeds and with what their driver makes of them: they must not crash, hang or object.

REMORA_FUZZ_ROUNDS and REMORA_FUZZ_SEED ask for more and for others; a sanitizer build sees more (`make check`).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgpack
import pytest

LINE = b"2026-11-22T05:55:15.888067916Z "
LOGS = [
    LINE + b"stdout F hello\n" + LINE + b"stderr P par\n" + LINE + b"stderr F tial\n",
    LINE + b"stdout F \x1b[31mred\x1b[0m \x1b]0;title\x07\r\n" + LINE + b"stdout F \xc3\xa9\xe2\x82\xac\n",
    b"not a log\n\n" + LINE + b"stdout X odd\n" + LINE + b"stdout F the end is missing",
    (LINE + b"stdout F " + b"x" * 40 + b"\n") * 30,
]
MESSAGES = [
    {"op": "attach", "session": "", "stdin": True, "stdout": True, "rows": 24, "cols": 80},
    {"op": "exec", "session": "abc", "preserve_fds": 2, "env": ["A=b", ""], "attach": {"block": True}},
    {
        "version": 1,
        "id": "0123456789abcdef" * 4,
        "name": "box",
        "data_dir": "/d",
        "run_dir": "/r",
        "runtime": ["/usr/sbin/runc", "--root", "/r"],
        "env": ["PATH=/bin"],
        "tty": False,
        "stop_signal": 15,
        "log": {"driver": "k8s-file", "path": "/d/log", "max_size": 0},
        "restart": {"policy": "no", "max": 0},
        "attach": None,
        "remove": [["unlink", "/d/spec.json"], ["tree", "/d"]],
        "uid": 0,
        "gid": 0,
    },
    {},
]


def _seeds(target: str) -> list[bytes]:
    if target == "message":
        return [bytes(msgpack.packb(message)) for message in MESSAGES]
    return [bytes([flags, tail]) + log for log in LOGS for flags, tail in ((0, 255), (3, 2), (6, 0), (31, 1))]


@pytest.mark.parametrize("target", ["log_reader", "message"])
def test_fuzz_target_takes_whatever_comes(target: str, tmp_path: Path) -> None:
    folder = os.environ.get("REMORA_CORE_TESTS")
    if not folder:
        pytest.fail("REMORA_CORE_TESTS is not set: run the tests through `make test`")
    program = Path(folder).parent / "fuzz" / f"fuzz_{target}"
    files = []
    for number, seed in enumerate(_seeds(target)):
        path = tmp_path / f"seed-{number}"
        path.write_bytes(seed)
        files.append(str(path))
    rounds = os.environ.get("REMORA_FUZZ_ROUNDS", "20000")
    result = subprocess.run(
        [program, rounds, *files], cwd=tmp_path, capture_output=True, text=True, timeout=3000, check=False
    )
    assert result.returncode == 0, f"{target} ended with {result.returncode}\n{result.stderr[-3000:]}"
