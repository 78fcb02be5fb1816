"""A real registry on a loopback port: Debian's docker-registry with a folder of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import eventually


class Registry:
    """host: `127.0.0.1:PORT`; folder: where the blobs lie."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host = host
        self.folder = folder

    def blobs(self) -> list[Path]:
        """The files of all blobs, biggest first."""
        found = list((self.folder / "docker/registry/v2/blobs").rglob("data"))
        return sorted(found, key=lambda path: -path.stat().st_size)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def certify(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, `ca.crt`, with `ca.key` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "ca.key", "-out", folder / "ca.crt"],
        check=True,
        capture_output=True,
    )
    return folder / "ca.crt"


@contextmanager
def registry(folder: Path, *, password_file: Path | None = None, certificate: Path | None = None) -> Iterator[Registry]:
    """A running registry; it is ended by its pid. certificate: of `certify`, else it speaks plain HTTP."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    login = f"auth:\n  htpasswd:\n    realm: test\n    path: {password_file}\n" if password_file else ""
    tls = f"  tls:\n    certificate: {certificate}\n    key: {certificate.with_suffix('.key')}\n" if certificate else ""
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder}\n"
        f"http:\n  addr: 127.0.0.1:{port}\n{tls}{login}"
    )
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        eventually(lambda: _answers(port) or process.poll() is not None, "the registry listens")
        assert process.poll() is None, (folder / "log").read_text()
        yield Registry(f"127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def secure_registry(folder: Path) -> Iterator[Registry]:
    """With TLS, and a login: user `me`, password `secret`. `trusted/ca.crt` in its folder is its authority."""
    folder.mkdir(parents=True, exist_ok=True)
    passwords = folder / "htpasswd"
    passwords.write_text("me:$2b$05$lhXvoqkynIYNDXlDZeyEf.CidDCwqONgKSXbszzGy8qNUVX29eBTS\n")  # bcrypt
    certificate = certify(folder / "certs")
    (folder / "trusted").mkdir()
    (folder / "trusted/ca.crt").write_text(certificate.read_text())
    with registry(folder, password_file=passwords, certificate=certificate) as running:
        yield running


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
