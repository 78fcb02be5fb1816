"""Pulling from a real registry, and everything that can go wrong on the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remora.frontend.images.store import Store
from remora.frontend.settings import Settings
from tests.frontend.images_registry import Registry, free_port, registry
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.conftest import Remora

DEADLINE = 60


def open_store(remora: Remora) -> Store:
    return Store(Settings(str(remora.root), str(remora.runroot), environ=remora.environment))


def push(remora: Remora, name: str, target: str, *options: str) -> None:
    transport = open_store(remora).configuration.transport()
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", *options, f"{transport}{name}", f"docker://{target}"],
        env=remora.environment,
        check=True,
        timeout=DEADLINE,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def pushed(empty_remora: Remora, server: Registry, busybox_tar: Path) -> tuple[str, str]:
    """Name and id of an image that is in the registry and not in the store."""
    id = empty_remora("import", "-q", "-c", "LABEL=from=registry", str(busybox_tar), "base").removeprefix("sha256:")
    name = f"{server.host}/me/base:1"
    push(empty_remora, "localhost/base:latest", name)
    empty_remora("rmi", "base")
    return name, id


def test_a_pulled_image_has_its_name_and_its_id_is_printed(empty_remora: Remora, pushed: tuple[str, str]) -> None:
    name, id = pushed
    result = empty_remora.run("pull", "--tls-verify=false", name)
    assert result.stdout == id + "\n"
    assert f"Trying to pull {name}..." in result.stderr
    image = open_store(empty_remora).find(name)
    assert (image.id, image.names) == (id, [name])
    assert image.config["Labels"] == {"from": "registry"}
    quiet = empty_remora.run("pull", "-q", "--tls-verify=false", name)
    assert (quiet.stdout, quiet.stderr) == (id + "\n", "")
    assert empty_remora("run", "--rm", "--network", "none", name, "/bin/echo", "it runs") == "it runs"


def test_an_image_is_pulled_by_its_digest(empty_remora: Remora, pushed: tuple[str, str]) -> None:
    name, id = pushed
    empty_remora("pull", "-q", "--tls-verify=false", name)
    digest = open_store(empty_remora).find(name).digest
    empty_remora("rmi", name)
    by_digest = f"{name.removesuffix(':1')}@{digest}"
    assert empty_remora("pull", "-q", "--tls-verify=false", f"{name}@{digest}") == id
    assert open_store(empty_remora).find(by_digest).id == id


def test_policies_decide_when_the_registry_is_asked(empty_remora: Remora, pushed: tuple[str, str]) -> None:
    name, id = pushed
    assert "policy is never" in empty_remora.run("pull", "--policy", "never", name, status=125).stderr
    assert empty_remora("pull", "-q", "--policy", "missing", "--tls-verify=false", name) == id
    for policy in ("missing", "never", "newer"):  # would fail if it asked: plain HTTP isn't allowed
        assert empty_remora("pull", "-q", "--policy", policy, name) == id
    empty_remora.run("pull", "-q", "--policy", "always", name, status=125)
    assert "always, missing" in empty_remora.run("pull", "--policy", "odd", name, status=125).stderr


def test_newer_fetches_only_what_changed(empty_remora: Remora, pushed: tuple[str, str], busybox_tar: Path) -> None:
    name, id = pushed
    pull = ("pull", "-q", "--policy", "newer", "--tls-verify=false", name)
    assert empty_remora(*pull) == id
    assert empty_remora(*pull) == id
    second = empty_remora("import", "-q", "-c", "USER=1", str(busybox_tar), "second").removeprefix("sha256:")
    push(empty_remora, "localhost/second:latest", name)
    assert empty_remora(*pull) == second


def test_short_names_are_completed_by_alias_and_search_registries(
    empty_remora: Remora, pushed: tuple[str, str], server: Registry
) -> None:
    name, id = pushed
    conf = empty_remora.folder / "registries.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    insecure = f'[[registry]]\nlocation = "{server.host}"\ninsecure = true\n'
    conf.write_text(
        f'unqualified-search-registries = ["{server.host}"]\n{insecure}[aliases]\n"nick" = "{server.host}/me/base"\n'
    )
    empty_remora.environment["CONTAINERS_REGISTRIES_CONF"] = str(conf)
    assert empty_remora("pull", "-q", "nick:1") == id
    assert empty_remora("pull", "-q", "me/base:1") == id
    assert open_store(empty_remora).find(id).names == [name]


def test_without_search_registries_a_short_name_is_refused_as_by_podman(empty_remora: Remora) -> None:
    conf = empty_remora.folder / "registries.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("")
    empty_remora.environment["CONTAINERS_REGISTRIES_CONF"] = str(conf)
    error = empty_remora.run("pull", "nosuchshort", status=125).stderr
    assert error.startswith(
        'Error: short-name "nosuchshort" did not resolve to an alias and no unqualified-search registries are defined '
        f'in "{conf}"'
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("HOST/me/base:1", "speaks plain HTTP, not HTTPS (`--tls-verify=false` allows that)"),
        ("CLOSED/a", "refuses connections"),
        ("no.such.host.invalid/a", "is not known"),
        ("BAD", "repository name must be lowercase"),
        ("oci:folder", "`remora load`"),
        ("0" * 64, "an image id can't be pulled"),
    ],
)
def test_what_fails_is_one_line_with_a_remedy(
    empty_remora: Remora, pushed: tuple[str, str], server: Registry, name: str, told: str
) -> None:
    name = name.replace("HOST", server.host).replace("CLOSED", f"127.0.0.1:{free_port()}")
    result = empty_remora.run("pull", "-q", name, status=125)
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert open_store(empty_remora).images() == []


@pytest.mark.parametrize("reference", ["me/base:2", "me/nosuch:1", "me/base@sha256:" + "0" * 64])
def test_an_image_the_registry_has_not_is_told_with_how_to_look(
    empty_remora: Remora, pushed: tuple[str, str], server: Registry, reference: str
) -> None:
    error = empty_remora.run("pull", "-q", "--tls-verify=false", f"{server.host}/{reference}", status=125).stderr
    repository = reference.replace("@", ":").partition(":")[0]
    assert f"`skopeo list-tags docker://{server.host}/{repository}`" in error


def test_a_login_is_asked_for_taken_and_never_shown_in_the_process_list(
    empty_remora: Remora, busybox_tar: Path, tmp_path: Path
) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text("me:$2b$05$lhXvoqkynIYNDXlDZeyEf.CidDCwqONgKSXbszzGy8qNUVX29eBTS\n")  # bcrypt of "secret"
    with registry(tmp_path / "private", password_file=passwords) as private:
        empty_remora("import", "-q", str(busybox_tar), "base")
        name = f"{private.host}/base:1"
        push(empty_remora, "localhost/base:latest", name, "--dest-creds", "me:secret")
        empty_remora("rmi", "base")
        error = empty_remora.run("pull", "-q", "--tls-verify=false", name, status=125).stderr
        assert f"`remora login {private.host}`" in error
        empty_remora("pull", "-q", "--tls-verify=false", "--creds", "me:secret", name)
        empty_remora.run("pull", "-q", "--tls-verify=false", "--creds", "me:wrong", name, status=125)
        tracer = subprocess.run(
            ["strace", "-f", "-e", "trace=execve", "-s", "400", "remora", "pull", "-q", "--tls-verify=false"]
            + ["--creds", "me:secret", name],
            env=empty_remora.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        skopeo = [line for line in tracer.stderr.splitlines() if "execve(" in line and "/skopeo" in line]
        assert skopeo
        assert not any("secret" in line for line in skopeo)


def test_without_skopeo_the_package_is_named(empty_remora: Remora) -> None:
    hidden = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null /usr/bin/skopeo && exec "$@"', "sh"]
        + ["remora", "pull", "quay.io/a/b"],
        env=empty_remora.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert hidden.returncode == 125
    assert "skopeo is not installed (`apt-get install skopeo`)" in hidden.stderr


class CutOff:
    """A proxy that lets `limit` bytes of the biggest answer through and then closes."""

    def __init__(self, target: str, limit: int) -> None:
        host, _, port = target.partition(":")
        self.target = (host, int(port))
        self.limit = limit
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            threading.Thread(target=self._pump, args=(client, server, 1 << 60), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, self.limit), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, limit: int) -> None:
        try:
            while limit > 0 and (data := source.recv(min(65536, limit))):
                target.sendall(data)
                limit -= len(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self.listener.close()


def test_a_connection_cut_off_in_the_middle_is_an_error_and_leaves_no_image(
    empty_remora: Remora, pushed: tuple[str, str], server: Registry
) -> None:
    name, id = pushed
    proxy = CutOff(server.host, 200_000)
    try:
        cut = name.replace(server.host, proxy.host)
        result = empty_remora.run("pull", "-q", "--tls-verify=false", cut, status=125)
    finally:
        proxy.close()
    assert result.stderr.count("\n") == 1
    assert f"pulling {cut}" in result.stderr
    assert open_store(empty_remora).images() == []
    assert empty_remora("pull", "-q", "--tls-verify=false", name) == id


def test_a_damaged_blob_in_the_registry_is_an_error_and_leaves_no_image(
    empty_remora: Remora, busybox_tar: Path, tmp_path: Path
) -> None:
    with registry(tmp_path / "damaged") as server:
        empty_remora("import", "-q", str(busybox_tar), "base")
        name = f"{server.host}/base:1"
        push(empty_remora, "localhost/base:latest", name)
        empty_remora("rmi", "base")
        blob = server.blobs()[0]
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 0xFF
        blob.write_bytes(data)
        result = empty_remora.run("pull", "-q", "--tls-verify=false", name, status=125)
    assert result.stderr.count("\n") == 1
    assert open_store(empty_remora).images() == []


def test_a_full_disk_is_named_with_its_folder_and_the_store_stays_usable(
    empty_remora: Remora, pushed: tuple[str, str], busybox_tar: Path, tmp_path: Path
) -> None:
    name, id = pushed
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1400k", "none", small], check=True)
    try:
        conf = tmp_path / "small.conf"
        conf.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{small}/root"\nrunroot = "{tmp_path}/small-run"\n'
        )
        empty_remora.environment["CONTAINERS_STORAGE_CONF"] = str(conf)
        for words in (("pull", "-q", "--tls-verify=false", name), ("import", "-q", str(busybox_tar), "base")):
            result = empty_remora.run(*words, status=125)
            assert "no space left on device" in result.stderr
            assert str(small) in result.stderr
            assert result.stderr.count("\n") == 1
            assert open_store(empty_remora).images() == []
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        assert empty_remora("pull", "-q", "--tls-verify=false", name) == id
        subprocess.run(["umount", "-l", f"{small}/root/overlay"], check=False, capture_output=True)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_sigterm_ends_skopeo_and_removes_the_temporary_folder(empty_remora: Remora, tmp_path: Path) -> None:
    """A server that accepts and never answers keeps skopeo waiting."""
    silent = socket.create_server(("127.0.0.1", 0))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    empty_remora.environment["TMPDIR"] = str(temporary)
    process = empty_remora.popen("pull", "-q", f"127.0.0.1:{silent.getsockname()[1]}/a")
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        child = int(eventually(lambda: children.read_text().strip(), "skopeo starts"))
        assert os.listdir(temporary)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 128 + signal.SIGTERM
        assert not Path(f"/proc/{child}").exists()
        assert os.listdir(temporary) == []
    finally:
        process.kill()
        process.wait()
        silent.close()


def test_what_a_killed_pull_left_is_removed_by_the_next_one(empty_remora: Remora, tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    empty_remora.environment["TMPDIR"] = str(temporary)
    process = empty_remora.popen("pull", "-q", f"127.0.0.1:{silent.getsockname()[1]}/a")
    try:
        eventually(lambda: os.listdir(temporary), "the folder is there")
        for name in os.listdir(temporary):
            os.utime(temporary / name, (1, 1))
        empty_remora.run("pull", "-q", "127.0.0.1:1/a", status=125)
        assert os.listdir(temporary), "a folder in use stays"
        process.kill()
        process.wait()
    finally:
        process.kill()
        process.wait()
        silent.close()
    empty_remora.run("pull", "-q", "127.0.0.1:1/a", status=125)
    assert os.listdir(temporary) == []


def test_podman_sees_what_was_pulled_as_its_own(empty_remora: Remora, pushed: tuple[str, str]) -> None:
    from tests.frontend.test_images_store import tool

    name, id = pushed
    empty_remora("pull", "-q", "--tls-verify=false", name)
    found = json.loads(tool(empty_remora, "podman", "images", "--format", "json"))
    assert [(image["Id"], image["Names"]) for image in found] == [(id, [name])]
