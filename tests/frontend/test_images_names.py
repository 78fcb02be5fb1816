"""Names, configuration files and instructions: what needs no store."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remora.frontend.errors import RemoraError
from remora.frontend.images import changes, configuration, decode, names, skopeo, toml
from remora.frontend.settings import Settings

DIGEST = "sha256:" + "0123456789abcdef" * 4

REFERENCES = {
    "busybox": ("", "busybox", "", ""),
    "busybox:1.35": ("", "busybox", "1.35", ""),
    "me/busybox": ("", "me/busybox", "", ""),
    "localhost/busybox:latest": ("localhost", "busybox", "latest", ""),
    "quay.io/a/b/c:v1": ("quay.io", "a/b/c", "v1", ""),
    "127.0.0.1:5000/bb": ("127.0.0.1:5000", "bb", "", ""),
    "docker.io/alpine": ("docker.io", "library/alpine", "", ""),
    f"quay.io/a/b@{DIGEST}": ("quay.io", "a/b", "", DIGEST),
    f"a:1@{DIGEST}": ("", "a", "1", DIGEST),
    "a__b/c.d-e---f": ("", "a__b/c.d-e---f", "", ""),
    "UPPER.io/x": ("UPPER.io", "x", "", ""),
}

MALFORMED = (
    "",
    "BAD",
    "a b",
    "a:",
    "a:-x",
    "a/",
    "/a",
    "../a",
    "a//b",
    "a@sha256:12",
    "a@md5:" + "0" * 32,
    "-a",
    "a-",
    "a___b",
    "a.-b",
    "quay.io/a:b:c",
    "a:" + "x" * 129,
    "a" * 256,
    "0" * 64,
    "\x1b[31m",
    "ä",
)


@pytest.mark.parametrize("text", REFERENCES)
def test_a_name_is_taken_apart(text: str) -> None:
    reference = names.parse(text)
    assert (reference.domain, reference.path, reference.tag, reference.digest) == REFERENCES[text]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_name_is_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="invalid reference format"):
        names.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        reference = names.parse(text)
    except RemoraError:
        return
    assert names.parse(str(reference)).path == reference.path
    assert ".." not in str(reference).split("/")


def test_new_names_get_localhost_and_latest() -> None:
    assert names.new_name("base") == "localhost/base:latest"
    assert names.new_name("me/base:2") == "localhost/me/base:2"
    assert names.new_name("quay.io/base") == "quay.io/base:latest"
    with pytest.raises(RemoraError):
        names.new_name(f"base@{DIGEST}")


def test_a_short_name_is_completed_by_alias_then_localhost_then_registries_then_docker() -> None:
    found = names.local_candidates(names.parse("tool:2"), "quay.io/tools/stable", ["one.org", "docker.io"])
    assert found == [
        "quay.io/tools/stable:2",
        "localhost/tool:2",
        "one.org/tool:2",
        "docker.io/library/tool:2",
    ]


def test_an_ending_matches_at_a_slash_and_with_its_tag() -> None:
    assert names.matches_end("quay.io/me/tool:latest", names.parse("tool"))
    assert names.matches_end("quay.io/me/tool:2", names.parse("me/tool:2"))
    assert not names.matches_end("quay.io/me/mytool:latest", names.parse("tool"))
    assert not names.matches_end("quay.io/me/tool:2", names.parse("tool"))
    assert not names.matches_end(f"quay.io/me/tool@{DIGEST}", names.parse("tool"))


DOCUMENTS = (
    '[storage]\ndriver = "overlay"\ngraphroot="/a b"\n[storage.options]\nadditionalimagestores = ["/x", "/y"]\n',
    'unqualified-search-registries = []\n# a comment\n[aliases]\n  "a/b" = "c.d/e"\n',
    "[storage]\nsize = 10\nflag = true\n",
    'a = \'literal\'\nb = "esc\\"aped"\n',
    '[[registry]]\nprefix = "a"\n[[registry]]\nprefix = "b"\n',
    'a = [\n "x",\n "y",\n]\n',
    'a = "x" # comment\n',
    'a = """\nlong\n"""\n',
    'a.b = "c"\n',
    "",
    'a = ["x" , "y",]\n',
    'a = ["#"]\n',
    "a = 010\n",
    'a = "b" "c"\n',
    'a = ["x" "y"]\n',
    'a = "1"\na = "2"\n',
    "[a]\n[a]\n",
    "a\n",
    '[a\nb = "c"\n',
    'a = ["x"\n',
    'a = [,"x"]\n',
    'a = ["x",,"y"]\n',
    'a = {b = "c"}\n',
    "a = 1.5\n",
    "\"\" = 'x'\n",
    'a = "\t"\n',
)


@pytest.mark.parametrize("text", DOCUMENTS)
def test_the_small_toml_reader_agrees_with_tomllib(text: str) -> None:
    try:
        expected: object = tomllib.loads(text)
    except ValueError:
        expected = None
    found = toml._plain(text)
    if found is not None:
        assert found == expected, "the small reader took what it must leave to tomllib"
    if expected is None:
        with pytest.raises(ValueError):
            toml.loads(text)
    else:
        assert toml.loads(text) == expected


@settings(max_examples=300)
@given(st.text(alphabet="ab\"=[],.#\n \\'{}1-", max_size=24))
def test_the_small_toml_reader_never_takes_what_tomllib_reads_otherwise(text: str) -> None:
    found = toml._plain(text)
    if found is None:
        return
    try:
        expected: object = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        expected = None
    assert found == expected


def test_debians_short_names_need_no_tomllib() -> None:
    path = Path("/etc/containers/registries.conf.d/shortnames.conf")
    assert toml._plain(path.read_text()) == tomllib.loads(path.read_text())


def _configuration(folder: Path, text: str) -> configuration.StorageConfiguration:
    path = folder / "storage.conf"
    path.write_text(text)
    return configuration.load(Settings(environ={"CONTAINERS_STORAGE_CONF": str(path), "HOME": "/home/me"}))


def test_the_store_is_where_the_configuration_says(tmp_path: Path) -> None:
    store = _configuration(
        tmp_path,
        '[storage]\ndriver = "overlay"\ngraphroot = "$HOME/g/"\nrunroot = "/r"\n'
        '[storage.options]\nadditionalimagestores = ["/one", "/two"]\n',
    )
    assert (store.graph_root, store.run_root, store.additional) == ("/home/me/g", "/r", ["/one", "/two"])
    assert store.transport() == "containers-storage:[overlay@/home/me/g+/r]"


def test_an_empty_configuration_gives_the_defaults(tmp_path: Path) -> None:
    store = _configuration(tmp_path, "")
    assert (store.graph_root, store.run_root) == ("/var/lib/containers/storage", "/run/containers/storage")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[storage]\ndriver = "vfs"\n', 'storage driver "vfs"'),
        ("[storage\n", "storage.conf"),
        ("[storage]\ndriver = \n", "storage.conf"),
    ],
)
def test_an_unusable_configuration_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RemoraError) as caught:
        _configuration(tmp_path, text)
    assert told in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


def test_a_driver_from_the_environment_is_blamed_on_it(tmp_path: Path) -> None:
    with pytest.raises(RemoraError, match="STORAGE_DRIVER"):
        configuration.load(Settings(environ={"STORAGE_DRIVER": "btrfs"}))


def test_a_named_configuration_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(RemoraError, match="CONTAINERS_STORAGE_CONF"):
        configuration.load(Settings(environ={"CONTAINERS_STORAGE_CONF": str(tmp_path / "none")}))


CHANGES = {
    "CMD=/bin/sh": {"Cmd": ["/bin/sh", "-c", "/bin/sh"]},
    'CMD ["/bin/sh", "-l"]': {"Cmd": ["/bin/sh", "-l"]},
    'ENTRYPOINT ["/init"]': {"Entrypoint": ["/init"]},
    "ENV A=b": {"Env": ["A=b"]},
    'ENV A=b C="d e"': {"Env": ["A=b", "C=d e"]},
    "ENV A some text": {"Env": ["A=some text"]},
    "ENV=A=b C=d": {"Env": ["A=b C=d"]},
    "env=A": {"Env": ["A="]},
    "USER=1000:0": {"User": "1000:0"},
    "WORKDIR /etc": {"WorkingDir": "/etc"},
    "LABEL=a=b": {"Labels": {"a": "b"}},
    'LABEL a="b c" d=e': {"Labels": {"a": "b c", "d": "e"}},
    "EXPOSE=80": {"ExposedPorts": {"80/tcp": {}}},
    "EXPOSE 53/udp 80-81": {"ExposedPorts": {"53/udp": {}, "80-81/tcp": {}}},
    "VOLUME /a /b": {"Volumes": {"/a": {}, "/b": {}}},
    'VOLUME=["/a","/b"]': {"Volumes": {"/a": {}, "/b": {}}},
    "STOPSIGNAL=SIGINT": {"StopSignal": "SIGINT"},
    "STOPSIGNAL 2": {"StopSignal": "2"},
}


@pytest.mark.parametrize("text", CHANGES)
def test_an_instruction_changes_the_configuration(text: str) -> None:
    assert changes.apply([text]) == CHANGES[text]


def test_later_instructions_win_and_add() -> None:
    assert changes.apply(["ENV A=1", "ENV B=2", "ENV A=3", "LABEL x=1", "LABEL y=2"]) == {
        "Env": ["A=3", "B=2"],
        "Labels": {"x": "1", "y": "2"},
    }


@pytest.mark.parametrize(
    "text",
    [
        "FOO=bar",
        "CMD",
        "ENV",
        "",
        "EXPOSE=abc",
        "EXPOSE 70000",
        "EXPOSE 1/icmp",
        "LABEL=x",
        "STOPSIGNAL=no",
        "LABEL a='b",
    ],
)
def test_a_wrong_instruction_is_named(text: str) -> None:
    with pytest.raises(RemoraError) as caught:
        changes.apply([text])
    assert f'invalid change "{text}"' in caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("2026-11-22T05:23:48.032498611Z", 1795325028_032498611),
        ("2026-11-22T06:23:48.5+01:00", 1795325028_500000000),
        ("2026-11-22T04:23:48-01:00", 1795325028_000000000),
        ("nonsense", 0),
        ("", 0),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert decode.rfc3339_ns(text) == expected


def test_the_text_of_an_error_is_taken_out_of_the_log() -> None:
    log = (
        b'time="2026-11-22T05:28:25Z" level=warning msg="Failed, retrying"\n'
        b'time="2026-11-22T05:28:27Z" level=fatal msg="reading \\"a\\": open a: no such file or directory"\n'
    )
    assert skopeo.message_of(log) == 'reading "a": open a: no such file or directory'
    assert skopeo.message_of(b"panic: odd\n") == "panic: odd"
    assert skopeo.message_of(b"") == ""
