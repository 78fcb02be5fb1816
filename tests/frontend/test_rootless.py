"""The parts of rootless: ranges, folders, the store's place, what is delegated, how a configuration is fitted."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

import pytest

from remora.frontend.errors import RemoraError
from remora.frontend.images import configuration, registries
from remora.frontend.oci import delegation, rootless
from remora.frontend.rootless import entering, folders, overlay, ranges
from remora.frontend.settings import Settings
from remora.monitor import UserNamespaceError

UID = 54321


def settings(home: Path, **environ: str) -> Settings:
    return Settings(
        str(home / "data"), str(home / "run"), rootless=True, uid=UID, gid=UID, environ={"HOME": str(home), **environ}
    )


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """/etc/subuid and /etc/subgid; the user's name is "me"."""
    paths = tmp_path / "subuid", tmp_path / "subgid"
    monkeypatch.setattr(ranges, "FILES", tuple(map(str, paths)))
    monkeypatch.setattr(ranges, "login_name", lambda uid: "me")
    return paths


# ---- ranges -----------------------------------------------------------------------------------


def test_all_ranges_of_name_and_number_make_one_map_in_order(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[0].write_text(f"you:100000:65536\nme:200000:1000\n# me:1:1\nme:x:1\n{UID}:300000:5\n\nme:5:0\n")
    files[1].write_text("me:400000:65536\n")
    found = ranges.load(settings(tmp_path))
    assert found.uid_map == [(0, UID, 1), (1, 200000, 1000), (1001, 300000, 5)]
    assert found.gid_map == [(0, UID, 1), (1, 400000, 65536)]
    assert not found.single


@pytest.mark.parametrize(
    ("uids", "gids", "command"),
    [
        ("", "", "--add-subuids 100000-165535 --add-subgids 100000-165535"),
        ("you:100000:65536\n", "", "--add-subuids 165536-231071 --add-subgids 100000-165535"),
        ("me:100000:65536\n", "you:300000:1\n", "--add-subgids 300001-365536"),
        ("you:5:5\n", "me:7:9\n", "--add-subuids 100000-165535"),
    ],
)
def test_without_ranges_one_id_is_mapped_and_a_command_adds_free_ones(
    files: tuple[Path, Path], tmp_path: Path, uids: str, gids: str, command: str
) -> None:
    files[0].write_text(uids)
    if gids:
        files[1].write_text(gids)
    found = ranges.load(settings(tmp_path))
    assert found.single
    assert found.uid_map == [(0, UID, 1)]
    assert found.gid_map == [(0, UID, 1)]
    assert found.command() == f"sudo usermod {command} me"


def test_other_sources_of_ranges_are_asked(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "getsubids"
    program.write_text('#!/bin/sh\n[ "$1" = -g ] && echo "0: $2 900000 10" || echo "0: $1 800000 20"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    switch = tmp_path / "nsswitch.conf"
    monkeypatch.setattr(ranges, "SWITCH", str(switch))
    switch.write_text("passwd: files\nsubid: files\n")
    assert ranges.load(settings(tmp_path)).single
    switch.write_text("subid: sss\n")
    found = ranges.load(settings(tmp_path))
    assert (found.uids, found.gids) == ([(800000, 20)], [(900000, 10)])


# ---- folders ----------------------------------------------------------------------------------


def own(home: Path) -> Settings:
    """Settings of the user who runs the test."""
    found = settings(home)
    found.uid = os.getuid()
    return found


def test_folders_are_made_for_the_user_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    folders.prepare(own(tmp_path))
    assert [(tmp_path / name).stat().st_mode & 0o7777 for name in ("data", "run")] == [0o700, 0o700]


def test_a_network_file_system_is_refused_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path.stat().st_dev
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 1:2 / / rw - ext4 /dev/a rw\n"
        f"2 1 {os.major(device)}:{os.minor(device)} / /home rw,relatime shared:3 - nfs4 server:/home rw\n"
    )
    monkeypatch.setattr(folders, "MOUNTS", str(table))
    with pytest.raises(RemoraError) as caught:
        folders.prepare(own(tmp_path))
    assert "network file system (nfs4)" in caught.value.message
    assert "--root" in caught.value.hint
    assert not (tmp_path / "data").exists()


def test_the_real_file_system_is_known(tmp_path: Path) -> None:
    assert folders.filesystem("/proc") == "proc"
    assert folders.filesystem(str(tmp_path)) not in ("", *folders.NETWORK)


@pytest.mark.parametrize("trap", ["file", "link"])
def test_a_folder_that_is_none_or_anothers_is_refused(tmp_path: Path, trap: str) -> None:
    if trap == "file":
        (tmp_path / "data").touch()
    else:
        (tmp_path / "data").symlink_to("/proc/1")
    with pytest.raises(RemoraError, match="data folder"):
        folders.prepare(settings(tmp_path))


def test_without_a_home_the_user_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.struct_passwd(("me", "x", UID, UID, "", "/home/db", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    assert folders.data({}, UID) == "/home/db/.local/share/remora"
    monkeypatch.undo()
    with pytest.raises(RemoraError, match="no home is known"):
        folders.data({"HOME": "relative"}, UID)


# ---- the store --------------------------------------------------------------------------------


def test_a_users_store_is_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "FILES", ())
    store = configuration.load(settings(tmp_path, XDG_RUNTIME_DIR="/run/mine"))
    assert store.graph_root == f"{tmp_path}/.local/share/containers/storage"
    assert store.run_root == "/run/mine/containers"
    assert (store.driver_given, store.mount_program) == (False, "")


def test_of_the_systems_file_a_user_gets_the_driver_and_the_place_for_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "storage.conf"
    monkeypatch.setattr(configuration, "FILES", (str(path),))
    path.write_text(
        '[storage]\ndriver = "overlay"\ngraphroot = "/var/lib/root"\nrunroot = "/run/root"\n'
        'rootless_storage_path = "$HOME/here/$UID"\n[storage.options.overlay]\nmount_program = "/usr/bin/fuse"\n'
    )
    store = configuration.load(settings(tmp_path, XDG_RUNTIME_DIR="/run/mine"))
    assert (store.graph_root, store.run_root) == (f"{tmp_path}/here/{UID}", "/run/mine/containers")
    assert (store.driver_given, store.mount_program) == (True, "/usr/bin/fuse")


def test_a_users_own_file_comes_first_and_may_name_the_driver_alone(tmp_path: Path) -> None:
    path = tmp_path / ".config/containers/storage.conf"
    path.parent.mkdir(parents=True)
    path.write_text('[storage]\ndriver = "overlay"\n')
    store = configuration.load(settings(tmp_path))
    assert store.source == str(path)
    assert store.graph_root == f"{tmp_path}/.local/share/containers/storage"
    path.write_text('[storage]\ndriver = "overlay"\ngraphroot = "/mine"\n')
    assert configuration.load(settings(tmp_path)).graph_root == "/mine"


def test_a_users_registries_come_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "DROP_INS", str(tmp_path / "none"))
    own = tmp_path / ".config/containers"
    (own / "registries.conf.d").mkdir(parents=True)
    (own / "registries.conf").write_text('unqualified-search-registries = ["one.example"]\n')
    (own / "registries.conf.d/a.conf").write_text('[aliases]\n"short" = "two.example/long"\n')
    found = registries.load(settings(tmp_path))
    assert (found.search, found.aliases["short"]) == (["one.example"], "two.example/long")


def test_overlay_options_keep_paths_with_odd_characters() -> None:
    assert overlay._escaped("/a:b,c\\d", "\\:,") == "/a\\:b\\,c\\\\d"


# ---- entering ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "knob", "told"),
    [
        (UserNamespaceError(errno.EPERM, "unshare", ""), 0, "unprivileged_userns_clone=1"),
        (UserNamespaceError(errno.EACCES, "unshare", ""), 1, "apparmor_restrict_unprivileged_userns=0"),
        (UserNamespaceError(errno.ENOSPC, "unshare", ""), 2, "user.max_user_namespaces"),
        (UserNamespaceError(errno.ENOSPC, "unshare", ""), None, "raise sysctl user.max_user_namespaces"),
        (UserNamespaceError(errno.EPERM, "uids", "newuidmap: write failed"), None, "newuidmap: write failed"),
        (UserNamespaceError(errno.EPERM, "gids", ""), None, "newgidmap"),
    ],
)
def test_a_namespace_that_cannot_be_made_is_explained_in_one_line(
    error: UserNamespaceError, knob: int | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if knob is not None:
        _, wrong, remedy = entering.KNOBS[knob]
        (tmp_path / "knob").write_text(wrong + "\n")
        monkeypatch.setattr(entering, "KNOBS", ((str(tmp_path / "knob"), wrong, remedy),))
    found = entering._explain(error, ranges.Ranges("me", UID, UID, [(1, 2)], [(1, 2)]))
    assert told in str(found)
    assert "\n" not in str(found)
    assert found.status == 125


def test_what_fails_inside_comes_out_as_the_same_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(entering, "enter", lambda settings, neighbour: None)
    assert entering.inside(settings(tmp_path), lambda: "ü" * 200000) == "ü" * 200000

    def fail() -> str:
        raise RemoraError("what", "hint", 127)

    with pytest.raises(RemoraError) as caught:
        entering.inside(settings(tmp_path), fail)
    assert (caught.value.message, caught.value.hint, caught.value.status) == ("what", "hint", 127)

    def die() -> str:
        os._exit(9)

    with pytest.raises(RemoraError, match="cut off"):
        entering.inside(settings(tmp_path), die)


# ---- limits -----------------------------------------------------------------------------------


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A unified hierarchy whose folder /top/mine is delegated; we are in /top/mine/shell."""
    root = tmp_path / "cgroup"
    for name in ("", "/top", "/top/mine", "/top/mine/shell"):
        folder = Path(f"{root}{name}")
        folder.mkdir()
        for file in ("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control"):
            (folder / file).write_text("cpu memory pids\n" if file == "cgroup.controllers" else "")
    (tmp_path / "own").write_text("0::/top/mine/shell\n")
    (root / "top/mine/shell/cgroup.procs").write_text("1\n")
    monkeypatch.setattr(delegation, "ROOT", str(root))
    monkeypatch.setattr(delegation, "OWN", str(tmp_path / "own"))
    delegated = {f"{root}/top/mine", f"{root}/top/mine/shell"}
    monkeypatch.setattr(os, "access", lambda path, mode: os.path.dirname(path) in delegated)
    return root


def test_the_topmost_folder_that_the_user_may_write_is_delegated(unified: Path, tmp_path: Path) -> None:
    assert delegation.folder(settings(tmp_path)) == "/top/mine"
    assert delegation.controllers("/top/mine") == {"cpu", "memory", "pids"}
    (unified / "top/mine/cgroup.procs").write_text("7\n")
    assert delegation.controllers("/top/mine") == set(), "a folder with processes enables no more"
    (unified / "top/mine/cgroup.subtree_control").write_text("pids\n")
    assert delegation.controllers("/top/mine") == {"pids"}


@pytest.mark.parametrize(
    ("have", "kept", "told"),
    [
        (set(), set(), "--memory, --pids-limit, --cpus, --cpuset-cpus left out: "),
        ({"memory", "pids"}, {"memory", "pids"}, "--cpus, --cpuset-cpus left out: "),
        ({"memory", "pids", "cpu"}, {"memory", "pids", "quota"}, "--cpuset-cpus left out: "),
        ({"cpuset"}, {"cpus"}, "--memory, --pids-limit, --cpus left out: "),
        ({"memory", "pids", "cpu", "cpuset"}, {"memory", "pids", "quota", "cpus"}, ""),
    ],
)
def test_limits_without_a_controller_are_left_out_and_named(
    have: set[str], kept: set[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegation, "controllers", lambda at: have)
    spec = {"memory": 1, "memory_swap": 0, "pids_limit": 5, "cpus": 0.5, "cpu_shares": 0, "cpuset_cpus": "0"}
    resources = {"devices": [], "memory": {"limit": 1}, "pids": {"limit": 5}, "cpu": {"quota": 1, "cpus": "0"}}
    for first in (True, False):
        warnings: list[str] = []
        result = rootless._limits(settings(tmp_path), spec, resources, first, warnings)  # type: ignore[arg-type]
        cpu = result.get("cpu") or {}
        assert isinstance(cpu, dict)
        assert {*(set(result) - {"cpu"}), *cpu} == kept
        assert len(warnings) == (1 if told and first else 0)
        assert not warnings or warnings[0].startswith(told)
