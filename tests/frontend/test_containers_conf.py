"""containers.conf: which files count, what wins, how lists are joined, and that a wrong value is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from remora.frontend import containers_conf
from remora.frontend.containers_conf import Configuration
from remora.frontend.errors import RemoraError
from remora.frontend.settings import Settings

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file below a folder that stands for /; the system's own files are looked for there."""
    monkeypatch.setattr(
        containers_conf,
        "SYSTEM",
        (f"{tmp_path}/usr/share/containers/containers.conf", f"{tmp_path}/etc/containers/containers.conf"),
    )

    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return make


def loaded(text: str, tmp_path: Path) -> Configuration:
    path = tmp_path / "one.conf"
    path.write_text(text)
    return containers_conf.load({"CONTAINERS_CONF": str(path)})


def test_without_a_file_every_setting_has_its_default(write: Write) -> None:
    conf = containers_conf.load({"HOME": "/nowhere"})
    assert conf.text("containers", "umask", "0022") == "0022"
    assert conf.flag("containers", "init") is False
    assert conf.integer("containers", "pids_limit", 2048) == 2048
    assert conf.texts("containers", "devices") == []
    assert not conf.has("containers", "umask")
    assert conf.files() == []


def test_later_files_replace_the_keys_they_have(write: Write, tmp_path: Path) -> None:
    write("usr/share/containers/containers.conf", '[containers]\numask = "1"\ntz = "usr"\ninit = true\nenv = ["A=1"]\n')
    write("etc/containers/containers.conf", '[containers]\numask = "2"\ntz = "etc"\n')
    write("etc/containers/containers.conf.d/20.conf", '[containers]\numask = "4"\n')
    write("etc/containers/containers.conf.d/10.conf", '[containers]\numask = "3"\npidns = "ten"\n')
    write("etc/containers/containers.conf.d/notes.txt", "no TOML at all")
    conf = containers_conf.load({"HOME": "/nowhere"})
    assert [conf.text("containers", key) for key in ("umask", "tz", "pidns")] == ["4", "etc", "ten"]
    assert conf.flag("containers", "init")
    write("home/.config/containers/containers.conf", '[containers]\numask = "5"\nenv = ["B=2"]\n')
    write("home/.config/containers/containers.conf.d/user.conf", '[containers]\ntz = "home"\n')
    conf = containers_conf.load({"HOME": f"{tmp_path}/home"})
    assert [conf.text("containers", key) for key in ("umask", "tz")] == ["5", "home"]
    assert conf.texts("containers", "env") == ["B=2"]
    write("xdg/containers/containers.conf", '[containers]\numask = "6"\n')
    override = write("override.conf", '[containers]\npidns = "last"\n')
    environ = {"HOME": f"{tmp_path}/home", "XDG_CONFIG_HOME": f"{tmp_path}/xdg"}
    conf = containers_conf.load({**environ, "CONTAINERS_CONF_OVERRIDE": str(override)})
    assert [conf.text("containers", key) for key in ("umask", "tz", "pidns")] == ["6", "etc", "last"]


def test_the_file_of_the_environment_stands_in_place_of_all_others(write: Write, tmp_path: Path) -> None:
    write("etc/containers/containers.conf", '[containers]\ntz = "etc"\n')
    given = write("given.conf", '[containers]\numask = "7"\n')
    conf = containers_conf.load({"HOME": f"{tmp_path}/home", "CONTAINERS_CONF": str(given)})
    assert (conf.text("containers", "umask"), conf.has("containers", "tz")) == ("7", False)
    assert containers_conf.load({"CONTAINERS_CONF": "/dev/null"}).files() == []


def test_a_list_may_be_added_to(write: Write) -> None:
    write("usr/share/containers/containers.conf", '[containers]\nenv = ["A=1"]\nvolumes = ["/a:/a"]\n')
    write("etc/containers/containers.conf", '[containers]\nenv = ["B=2", {append = true}]\n')
    write("etc/containers/containers.conf.d/1.conf", '[containers]\nenv = ["C=3"]\nvolumes = ["/b:/b"]\n')
    write("etc/containers/containers.conf.d/2.conf", '[containers]\nenv = ["D=4", {append = false}]\n')
    conf = containers_conf.load({})
    assert conf.texts("containers", "env") == ["D=4"]
    assert conf.texts("containers", "volumes") == ["/b:/b"]
    write("etc/containers/containers.conf.d/2.conf", "")
    assert containers_conf.load({}).texts("containers", "env") == ["A=1", "B=2", "C=3"]


def test_the_installed_file_of_the_distribution_is_read_without_tomllib(monkeypatch: pytest.MonkeyPatch) -> None:
    from remora.frontend.images import toml

    path = Path("/usr/share/containers/containers.conf")
    if not path.exists():
        pytest.skip("the distribution's containers-common is not installed")
    assert toml._plain(path.read_text()) == __import__("tomllib").loads(path.read_text())


@pytest.mark.parametrize(
    ("line", "ask", "said"),
    [
        ("umask = 22", lambda conf: conf.text("containers", "umask"), "wrong value 22 for [containers] umask in {}"),
        ('init = "yes"', lambda conf: conf.flag("containers", "init"), "true or false expected"),
        ('pids_limit = "many"', lambda conf: conf.integer("containers", "pids_limit"), 'wrong value "many"'),
        ("pids_limit = true", lambda conf: conf.integer("containers", "pids_limit"), "a whole number expected"),
        ("pids_limit = 3", lambda conf: conf.integer("containers", "pids_limit", least=4), "the least is 4"),
        ('env = "A=1"', lambda conf: conf.texts("containers", "env"), "a list of texts expected"),
        ("env = [1]", lambda conf: conf.texts("containers", "env"), "wrong value a list of 1"),
        ('pidns = "hots"', lambda conf: conf.choice("containers", "pidns", ("host",)), "did you mean host?"),
        ('shm_size = "big"', lambda conf: conf.size("containers", "shm_size"), "shm_size in {}"),
    ],
)
def test_a_wrong_value_is_named_with_file_table_and_key(
    line: str, ask: Callable[[Configuration], object], said: str, tmp_path: Path
) -> None:
    conf = loaded(f"[containers]\n{line}\n", tmp_path)
    with pytest.raises(RemoraError) as error:
        ask(conf)
    assert said.format(tmp_path / "one.conf") in str(error.value)
    assert str(tmp_path / "one.conf") in str(error.value)


def test_values_of_every_kind(tmp_path: Path) -> None:
    conf = loaded(
        '[containers]\nshm_size = "64m"\nlog_size_max = -1\n[network]\ndefault_subnet_pools = [{base = "10.1.0.0/16", '
        'size = 24}]\n[engine.runtimes]\nrunc = ["/usr/bin/runc"]\ncrun = []\n',
        tmp_path,
    )
    assert conf.size("containers", "shm_size") == 64 << 20
    assert conf.integer("containers", "log_size_max") == -1
    assert conf.tables("network", "default_subnet_pools") == [{"base": "10.1.0.0/16", "size": 24}]
    assert conf.texts("engine.runtimes", "runc") == ["/usr/bin/runc"]
    assert conf.keys("engine.runtimes") == ["runc", "crun"]


def test_a_file_that_is_no_toml_is_named_with_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(RemoraError) as error:
        loaded('[containers]\numask = "0022\n', tmp_path)
    assert str(tmp_path / "one.conf") in str(error.value)
    assert "line 2, column" in str(error.value)


def test_a_file_that_the_environment_names_must_be_there(tmp_path: Path) -> None:
    for name in ("CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE"):
        with pytest.raises(RemoraError, match=f"nowhere.conf .from {name}. does not exist"):
            containers_conf.load({"CONTAINERS_CONF": "/dev/null", name: f"{tmp_path}/nowhere.conf"})


def test_the_files_are_read_when_a_setting_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "one.conf"
    settings = Settings(environ={"CONTAINERS_CONF": str(path)})
    path.write_text('[containers]\numask = "0027"\n')
    assert settings.conf.text("containers", "umask") == "0027"
    assert settings.conf is settings.conf
