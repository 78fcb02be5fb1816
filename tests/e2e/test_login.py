"""Logins to a real registry with TLS: kept where Podman and Docker keep theirs, asked for on a terminal, forgotten."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.frontend.images_registry import Registry, free_port, secure_registry
from tests.support.commands import said
from tests.support.terminal import Terminal
from tests.support.village import Person, Village, import_image, staying

LOGIN = ("login", "--tls-verify=false")
STDIN = (*LOGIN, "-u", "me", "--password-stdin")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with secure_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def homely(empty_remora: Remora, tmp_path: Path) -> Remora:
    """With a home and a run-time folder of its own, in which logins are kept."""
    for variable in ("HOME", "XDG_RUNTIME_DIR"):
        folder = tmp_path / variable
        folder.mkdir(mode=0o700)
        empty_remora.environment[variable] = str(folder)
    empty_remora.environment.pop("REGISTRY_AUTH_FILE", None)
    return empty_remora


def kept(remora: Remora) -> dict[str, dict[str, str]]:
    path = Path(remora.environment["XDG_RUNTIME_DIR"]) / "containers/auth.json"
    assert path.stat().st_mode & 0o777 == 0o600
    found: dict[str, dict[str, str]] = json.loads(path.read_text()).get("auths", {})
    return found


def podman(remora: Remora, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        ["podman", *words], env=remora.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


def test_a_login_serves_push_and_pull_and_podman_until_the_logout(
    homely: Remora, server: Registry, busybox_tar: Path
) -> None:
    homely("import", "-q", str(busybox_tar), "base")
    name = f"{server.host}/logged/base:1"
    push = ("push", "-q", "--tls-verify=false", "base", name)
    assert f"`remora login {server.host}`" in said(homely, *push)
    trusted = ("--cert-dir", str(server.folder / "trusted"))
    result = homely.run("login", *trusted, "-u", "me", "--password-stdin", server.host, input="secret\n")
    assert (result.stdout, result.stderr) == ("Login Succeeded!\n", "")
    assert kept(homely) == {server.host: {"auth": b64encode(b"me:secret").decode()}}
    assert homely("login", "--get-login", server.host) == podman(homely, "login", "--get-login", server.host) == "me"
    assert homely(*LOGIN, f"https://{server.host}/") == f"Already logged in to {server.host} as me"
    homely(*push)
    homely("pull", "-q", "--tls-verify=false", name)
    assert server.host in homely("logout", server.host)
    assert kept(homely) == {}
    assert "not logged in" in said(homely, "logout", server.host)
    assert "not logged in" in said(homely, "login", "--get-login", server.host)
    said(homely, *push)


def test_logins_of_podman_and_docker_are_used(homely: Remora, server: Registry, busybox_tar: Path) -> None:
    homely("import", "-q", str(busybox_tar), "base")
    push = ("push", "-q", "--tls-verify=false", "base", f"{server.host}/shared/base")
    podman(homely, "login", "--tls-verify=false", "-u", "me", "-p", "secret", server.host)
    homely(*push)
    homely("logout", "--all")
    said(homely, *push)
    config = Path(homely.environment["HOME"]) / ".docker/config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"auths": {server.host: {"auth": b64encode(b"me:secret").decode()}}}))
    assert homely("login", "--get-login", server.host) == "me"
    homely(*push)


def test_an_authfile_of_ones_own(homely: Remora, server: Registry, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    homely.run(*STDIN, "--authfile", str(path), server.host, input="secret")
    assert list(json.loads(path.read_text())["auths"]) == [server.host]
    assert not (Path(homely.environment["XDG_RUNTIME_DIR"]) / "containers").exists()
    assert homely("login", "--authfile", str(path), "--get-login", server.host) == "me"
    assert homely.run("login", "--get-login", server.host, env={"REGISTRY_AUTH_FILE": str(path)}).stdout == "me\n"
    homely("logout", "--authfile", str(path), server.host)
    assert not json.loads(path.read_text()).get("auths")
    assert "there is no file" in said(homely, "logout", "--authfile", f"{path}.no", server.host)


def test_what_is_refused_is_one_line_and_keeps_nothing(homely: Remora, server: Registry) -> None:
    def refused(*words: str, input: str = "wrong") -> str:
        result = homely.run(*words, input=input, status=125)
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1 and result.stdout == ""
        return result.stderr

    wrong = refused(*STDIN, server.host)
    assert f"logging in to {server.host}: the registry refuses this user name or password (check both" in wrong
    closed = f"127.0.0.1:{free_port()}"
    assert f"the registry {closed} refuses connections (is it running" in refused(*STDIN, closed)
    assert "can't be verified (`--tls-verify=false`" in refused("login", "-u", "me", "--password-stdin", server.host)
    assert "there is none" in refused(*STDIN, server.host, input="\n")
    assert "more than one line" in refused(*STDIN, server.host, input="a\nb\n")
    assert "give --username" in refused(*LOGIN, "--password-stdin", server.host)
    assert "by --password-stdin" in refused(*LOGIN, server.host)
    assert "is not a registry" in refused(*STDIN, "https://")
    assert not (Path(homely.environment["XDG_RUNTIME_DIR"]) / "containers/auth.json").exists()


def test_on_a_terminal_the_password_is_asked_for_and_not_shown(homely: Remora, server: Registry) -> None:
    with Terminal([str(PROGRAM), *LOGIN, server.host], homely.environment) as asked:
        asked.expect("Username: ")
        asked.type("me\n")
        asked.expect("Password: ")
        asked.type("secret\n")
        asked.expect("Login Succeeded!")
        assert asked.wait() == 0
        assert b"secret" not in asked.screen and asked.is_restored()
    assert list(kept(homely)) == [server.host]
    with Terminal([str(PROGRAM), *LOGIN, "-u", "other", server.host], homely.environment) as left:
        left.expect("Password: ")
        left.type(b"\x03")
        assert left.wait() == 130 and left.is_restored()
    assert homely("login", "--get-login", server.host) == "me"


@pytest.fixture
def alice() -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as made, staying(made.person("alice")) as person:
        yield person


def test_the_login_of_an_ordinary_user_is_theirs_and_serves_their_push(
    alice: Person, server: Registry, busybox_tar: Path
) -> None:
    import_image(alice, busybox_tar)
    alice.run(*STDIN, server.host, input="secret")
    path = alice.runtime / "containers/auth.json"
    assert path.stat().st_uid == alice.uid and path.stat().st_mode & 0o777 == 0o600
    push = ("push", "-q", "--tls-verify=false", "busybox", f"{server.host}/alice/busybox:2")
    alice(*push)
    alice("logout", server.host)
    assert f"`remora login {server.host}`" in said(alice, *push)
    bare = alice.altered()
    del bare.environment["XDG_RUNTIME_DIR"]
    result = bare.run(*STDIN, server.host, input="secret", status=125)
    assert result.stderr.count("\n") == 1 and "--authfile" in result.stderr
