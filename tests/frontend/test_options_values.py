"""Values of options: what is taken, and that every mistake is one RemoraError that names option and text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remora.frontend.errors import RemoraError
from remora.frontend.options import environment, keys, mounts, names, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Mount


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("512", 512), ("1b", 1), ("2k", 2048), ("2K", 2048), ("1kb", 1024), ("1KiB", 1024)]
    + [("64m", 64 << 20), ("1.5g", 3 << 29), ("1t", 1 << 40), ("-1", -1), (" 7 m ", 7 << 20)],
)
def test_size_is_in_powers_of_1024(text: str, expected: int) -> None:
    assert values.size("--memory", text) == expected


@pytest.mark.parametrize("text", ["", "m", "5x", "-5", "1e3", "0x10", "1.2.3", "nan", "inf", "5 5", "½", "5mm"])
def test_bad_size_names_option_and_text(text: str) -> None:
    with pytest.raises(RemoraError) as caught:
        values.size("--memory", text)
    assert "--memory" in caught.value.message and f'"{text}"' in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("10", 10), ("90s", 90), ("1m30s", 90), ("2h", 7200), ("1500ms", 2), ("-1", -1)]
)
def test_duration_is_in_whole_seconds(text: str, expected: int) -> None:
    assert values.duration("--timeout", text) == expected


@pytest.mark.parametrize("text", ["", "s", "5x", "-5", "1m30", "m5", "1..5s"])
def test_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="--timeout"):
        values.duration("--timeout", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9", 9), ("KILL", 9), ("kill", 9), ("SIGTERM", 15), ("sigusr1", 10), ("RTMIN+3", 37), ("SIGRTMIN", 34)]
    + [("RTMAX", 64), ("SIGRTMAX-1", 63), ("64", 64)],
)
def test_signal_by_name_and_number(text: str, expected: int) -> None:
    assert values.signal("--stop-signal", text) == expected


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "NOPE", "SIG", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+x", "٣"])
def test_unknown_signal_is_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="--stop-signal"):
        values.signal("--stop-signal", text)


def test_ulimit_takes_soft_and_hard() -> None:
    assert values.ulimit("--ulimit", "nofile=10:20") == ("nofile", 10, 20)
    assert values.ulimit("--ulimit", "NPROC=10") == ("nproc", 10, 10)
    assert values.ulimit("--ulimit", "core=-1") == ("core", -1, -1)
    assert values.ulimit("--ulimit", "stack=5:unlimited") == ("stack", 5, -1)


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile=", "what=5", "nofile=a", "nofile=5:4", "nofile=1:2:3", "core=-1:5"]
)
def test_bad_ulimit_is_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="--ulimit"):
        values.ulimit("--ulimit", text)


@given(st.text())
def test_any_text_gives_a_value_or_one_error(text: str) -> None:
    for function in (values.size, values.duration, values.signal, values.ulimit, values.number, values.octal):
        try:
            function("--option", text)
        except RemoraError as error:
            told = error.status, "\n" in error.hint
            assert told == (125, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("", b""),
        ("a,b", b"ab"),
        ("CTRL-A", b"\x01"),
        ("ctrl-[", b"\x1b"),
        ("ctrl-@", b"\0"),
    ],
)
def test_detach_keys_as_a_terminal_sends_them(text: str, expected: bytes) -> None:
    assert keys.parse(text) == expected


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-é", "ab", "ctrl-1", ",", "é"])
def test_bad_detach_keys_are_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="--detach-keys"):
        keys.parse(text)


def test_random_names_are_names() -> None:
    from remora.frontend.container.names import is_valid

    found = {names.random_name() for _ in range(200)}
    assert len(found) > 100
    assert all(is_valid(name) and name.count("_") == 1 for name in found)


def test_volume_resolves_the_source_and_keeps_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    assert mounts.volume("-v", "./a:/b//c/../d:ro,rslave") == {
        "type": "bind",
        "source": str(tmp_path / "a"),
        "target": "/b/d",
        "options": ["ro", "rslave"],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("usr", "HOST-PATH:CONTAINER-PATH"),
        ("/usr:", "HOST-PATH:CONTAINER-PATH"),
        (":/usr", "HOST-PATH:CONTAINER-PATH"),
        ("/usr:/a:ro:x", "HOST-PATH:CONTAINER-PATH"),
        ("/usr:relative", "not absolute"),
        ("/usr:/", "can't be /"),
        ("/usr:/a/..", "can't be /"),
        ("/usr:/a:what", "unknown option"),
        ("/nowhere/x:/a", "statfs /nowhere/x: no such file or directory"),
        ("na*me:/a", "invalid volume name"),
        ("name:/a:what", "unknown option"),
        ("/usr:/a:U", "the system's business"),
    ],
)
def test_bad_volume_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(RemoraError) as caught:
        mounts.volume("--volume", text)
    assert words in str(caught.value) and text in caught.value.message


def test_a_name_is_a_volume_and_a_path_alone_an_anonymous_one() -> None:
    assert mounts.volume("-v", "data:/a/../b:ro,nocopy") == {
        "type": "volume",
        "source": "data",
        "target": "/b",
        "options": ["ro", "nocopy"],
    }
    anonymous = {"type": "volume", "source": "", "target": "/b", "options": []}
    assert mounts.volume("-v", "/b") == mounts.mount("--mount", "target=/b") == anonymous
    named = {"type": "volume", "source": "data", "target": "/b", "options": ["ro", "nocopy"]}
    assert mounts.mount("--mount", "type=volume,src=data,dst=/b,readonly,volume-nocopy=true") == named


def test_volumes_of_the_image_give_way_to_what_is_mounted_there() -> None:
    config: dict[str, object] = {"Volumes": {"/data": {}, "/srv/x": {}}}
    given = [mounts.volume("-v", "mine:/data")]
    mounts.add_image_volumes(given, config, None)
    assert [(item["type"], item["source"], item["target"]) for item in given] == [
        ("volume", "mine", "/data"),
        ("volume", "", "/srv/x"),
    ]
    memory: list[Mount] = []
    mounts.add_image_volumes(memory, config, "tmpfs")
    assert [item["type"] for item in memory] == ["tmpfs", "tmpfs"]
    none: list[Mount] = []
    mounts.add_image_volumes(none, config, "ignore")
    assert none == []


def test_mount_takes_both_spellings() -> None:
    expected = {"type": "bind", "source": "/usr", "target": "/m", "options": ["ro"]}
    assert mounts.mount("--mount", "type=bind,source=/usr,target=/m,readonly") == expected
    assert mounts.mount("--mount", "type=bind,src=/usr,dst=/m,ro=true") == expected
    assert mounts.mount("--mount", "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=700") == {
        "type": "tmpfs",
        "source": "tmpfs",
        "target": "/t",
        "options": ["size=1m", "mode=700"],
    }


@pytest.mark.parametrize(
    "text",
    ["", "type=bind", "type=bind,source=/usr", "type=bind,target=/m", "type=volume,source=a", "type=what,target=/m"]
    + [
        "type=tmpfs,source=/x,target=/m",
        "source=/usr,target=/m",
        "source=a/b,target=/m",
        "type=bind,source=/usr,target=/m,ro=perhaps",
    ],
)
def test_bad_mount_is_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="--mount"):
        mounts.mount("--mount", text)


def test_two_mounts_at_one_target_are_refused() -> None:
    with pytest.raises(RemoraError, match='"/a"'):
        mounts.check_targets([mounts.tmpfs("--tmpfs", "/a"), mounts.volume("-v", "/usr:/a")])


def test_environment_keeps_places_and_takes_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"\xef\xbb\xbf# comment\n\n  FROM_FILE=a=b \r\nINHERITED\nUNSET\n")
    caller = {"INHERITED": "x", "P_1": "1", "P_2": "2", "OTHER": "no"}
    assert environment.environment(["A=1", "B=2"], [str(path)], ["A=3", "P_*", "NOT_SET", "EMPTY="], caller) == [
        "A=3",
        "B=2",
        "FROM_FILE=a=b ",
        "INHERITED=x",
        "P_1=1",
        "P_2=2",
        "EMPTY=",
    ]


@pytest.mark.parametrize("text", ["", "=x", "A=\0"])
def test_bad_variable_is_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="--env"):
        environment.environment([], [], [text], {})


def test_missing_env_file_is_named() -> None:
    with pytest.raises(RemoraError, match="/nowhere/file"):
        environment.environment([], ["/nowhere/file"], [], {})
