"""Pushing to a registry with TLS and a password, to archives and folders, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.frontend.images_registry import Registry, free_port, secure_registry
from tests.support.commands import said
from tests.support.village import Person, Village, import_image, staying

CREDS = ("--creds", "me:secret")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with secure_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def digest_of(folder: Path) -> str:
    return (folder / "digest").read_text().strip()


def test_a_pushed_image_is_pulled_again_by_the_digest_that_was_written(
    empty_remora: Remora, server: Registry, busybox_tar: Path, tmp_path: Path
) -> None:
    image = empty_remora("import", "-q", "-c", "LABEL=pushed=1", str(busybox_tar), "base").removeprefix("sha256:")
    access = ("--cert-dir", str(server.folder / "trusted"), *CREDS)
    name = f"{server.host}/me/base:1"
    result = empty_remora.run("push", *access, "--digestfile", str(tmp_path / "digest"), "base", name)
    assert result.stdout == "" and "Writing manifest" in result.stderr
    empty_remora("rmi", "base")
    assert empty_remora("pull", "-q", *access, f"{server.host}/me/base@{digest_of(tmp_path)}") == image
    empty_remora("tag", image, name)
    result = empty_remora.run("image", "push", "-q", *access, name)  # its own name says where to
    assert result.stdout + result.stderr == ""


def test_the_format_of_the_manifest_is_chosen(
    empty_remora: Remora, server: Registry, busybox_tar: Path, tmp_path: Path
) -> None:
    empty_remora("import", "-q", str(busybox_tar), "base")
    seen = {}
    for form in ("oci", "v2s2"):
        empty_remora("push", "-q", "-f", form, "base", f"dir:{tmp_path / form}")
        seen[form] = json.loads((tmp_path / form / "manifest.json").read_text())["config"]["mediaType"]
    assert seen == {
        "oci": "application/vnd.oci.image.config.v1+json",
        "v2s2": "application/vnd.docker.container.image.v1+json",
    }
    assert "one of oci v2s1 v2s2" in said(empty_remora, "push", "-f", "odd", "base", f"dir:{tmp_path / 'no'}")


def test_archives_are_written_and_an_existing_docker_archive_is_left_alone(
    empty_remora: Remora, busybox_tar: Path, tmp_path: Path
) -> None:
    image = empty_remora("import", "-q", str(busybox_tar), "base").removeprefix("sha256:")
    docker, oci = tmp_path / "docker.tar", tmp_path / "oci.tar"
    empty_remora("push", "-q", "base", f"docker-archive:{docker}:quay.io/me/base:2")
    empty_remora("push", "-q", image[:12], f"oci-archive:{oci}:three")
    with tarfile.open(oci) as archive:
        assert "oci-layout" in archive.getnames()
    before = docker.read_bytes()
    assert "exists already (remove it first" in said(empty_remora, "push", "-q", "base", f"docker-archive:{docker}")
    assert docker.read_bytes() == before
    empty_remora("rmi", "base")
    empty_remora("load", "-q", "-i", str(docker))
    assert empty_remora("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").split() == [
        "quay.io/me/base:2",
        f"sha256:{image}",
    ]


def test_what_fails_is_one_line_with_a_remedy_and_leaves_nothing(
    empty_remora: Remora, server: Registry, busybox_tar: Path, tmp_path: Path
) -> None:
    image = empty_remora("import", "-q", str(busybox_tar), "base").removeprefix("sha256:")
    secure, name = ("push", "-q", "--cert-dir", str(server.folder / "trusted")), f"{server.host}/me/base:1"
    assert f"--tls-verify=false` accepts any; its CA belongs into /etc/containers/certs.d/{server.host}/" in said(
        empty_remora, "push", "-q", *CREDS, "base", name
    )
    line = said(empty_remora, *secure, "--creds", "me:wrong", "base", name)
    assert f"pushing base to {name}: the registry {server.host} refuses this user name" in line and "--creds" in line
    assert "wrong" not in line
    assert f"login {server.host}`" in said(empty_remora, *secure, "base", name)
    closed = f"127.0.0.1:{free_port()}"
    assert f"registry {closed} refuses connections (is it running" in said(
        empty_remora, *secure, "base", f"{closed}/base"
    )
    assert f"`remora push {image[:12]} HOST/PATH:TAG`" in said(empty_remora, *secure, image[:12])
    assert "`remora push base HOST/PATH:TAG`" in said(empty_remora, *secure, "base")
    assert "invalid reference format" in said(empty_remora, *secure, "base", f"{server.host}/UPPER")
    assert "nosuch" in said(empty_remora, *secure, "nosuch", name)
    assert "no path" in said(empty_remora, *secure, "base", "dir:")
    said(empty_remora, *secure, "base", f"oci-archive:{tmp_path / 'absent/x.tar'}")
    assert not (tmp_path / "absent").exists()


def test_the_tags_of_a_repository_are_listed(empty_remora: Remora, server: Registry, busybox_tar: Path) -> None:
    empty_remora("import", "-q", str(busybox_tar), "base")
    repository, access = f"{server.host}/many/tags", ("--tls-verify=false", *CREDS)
    for tag in ("a", "b", "c"):
        empty_remora("push", "-q", *access, "base", f"{repository}:{tag}")
    listing = ("search", "--list-tags", *access)
    table = [line.split() for line in empty_remora(*listing, repository).splitlines()]
    assert table == [["NAME", "TAG"], *([repository, tag] for tag in ("a", "b", "c"))]
    assert empty_remora(*listing, "--limit", "2", "--format", "{{.Tag}}", f"{repository}:a") == "a\nb"
    assert json.loads(empty_remora(*listing, "--format", "json", repository)) == [
        {"Name": repository, "Tags": ["a", "b", "c"]}
    ]
    assert "no such repository" in said(empty_remora, *listing, f"{server.host}/many/none")
    search = ("search", "--list-tags", "--tls-verify=false")
    assert f"`remora login {server.host}`" in said(empty_remora, *search, repository)
    assert "refuses connections" in said(empty_remora, *search, f"127.0.0.1:{free_port()}/base")
    assert "`remora search --list-tags base`" in said(empty_remora, "search", "base")


@pytest.fixture
def alice() -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as made, staying(made.person("alice")) as person:
        yield person


def test_an_ordinary_user_pushes_and_owns_the_digest_file(alice: Person, server: Registry, busybox_tar: Path) -> None:
    import_image(alice, busybox_tar)
    name, digest = f"{server.host}/alice/busybox:1", alice.home / "digest"
    push = ("push", "-q", "--tls-verify=false")
    alice(*push, *CREDS, "--digestfile", str(digest), "busybox", name)
    assert digest.stat().st_uid == alice.uid and digest.read_text().startswith("sha256:")
    alice("pull", "-q", "--tls-verify=false", *CREDS, name)
    assert "refuses this user name" in said(alice, *push, "--creds", "me:wrong", "busybox", name)
    alice(*push, "busybox", f"docker-archive:{alice.home}/out.tar")
    assert (alice.home / "out.tar").stat().st_uid == alice.uid
