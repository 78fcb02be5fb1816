"""A whole distribution from a registry: pushed by skopeo, pulled by Remora, worked in through tmux."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TREE, Remora
from tests.support.tmux import Tmux
from tests.support.waiting import eventually

SUITE = "bookworm"
MAX_AGE = 7 * 24 * 3600.0


def run(*words: str | os.PathLike[str], timeout: float = 120.0) -> None:
    result = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    assert result.returncode == 0, f"{words}: {result.stdout[-2000:]}\n{result.stderr[-2000:]}"


@pytest.fixture(scope="session")
def debian_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's minimal system by debootstrap as a tarball.

    Kept in build/ for a week, where that folder is ours: making it takes half a minute and a Debian mirror.
    """
    build = TREE / "build"
    kept = build.is_dir() and build.stat().st_uid == os.geteuid()
    folder = build if kept else tmp_path_factory.mktemp("debian")
    path = folder / f"debian-{SUITE}.tar"
    if path.exists() and time.time() - path.stat().st_mtime < MAX_AGE:
        return path
    root = tmp_path_factory.mktemp("debootstrap") / "root"
    run("debootstrap", "--variant=minbase", SUITE, root, timeout=600)
    exclude = ["--exclude=./var/cache/apt/archives/*", "--exclude=./var/lib/apt/lists/*", "--exclude=./dev/*"]
    run("tar", "-C", root, *exclude, "--numeric-owner", "-cf", f"{path}.new", ".")
    os.rename(f"{path}.new", path)
    shutil.rmtree(root)
    return path


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on a free port of the loopback interface: `127.0.0.1:PORT`."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/storage}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT
        )

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(answers, "the registry answers")
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def debian_in_registry(registry: str, debian_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """`127.0.0.1:PORT/debian:bookworm`, pushed by skopeo."""
    folder = tmp_path_factory.mktemp("push")
    name = f"{registry}/debian:{SUITE}"
    conf = folder / "storage.conf"
    conf.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n')
    # The tarball becomes an image in a store of its own; from there on only skopeo is at work.
    maker = Remora(folder / "remora", conf)
    maker.run("import", "-c", 'CMD ["bash"]', "-c", "ENV LANG=C.UTF-8", str(debian_tar), "debian:pushed", timeout=120)
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(conf)}
    source = "containers-storage:localhost/debian:pushed"
    result = subprocess.run(
        ["skopeo", "copy", "--dest-tls-verify=false", source, f"docker://{name}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    subprocess.run(["umount", "--quiet", folder / "storage" / "overlay"], check=False)
    shutil.rmtree(folder / "storage", ignore_errors=True)
    return name


def test_debian_is_pulled_from_a_registry_and_its_bash_is_worked_in_through_tmux(
    empty_remora: Remora, debian_in_registry: str, tmp_path: Path
) -> None:
    remora = empty_remora
    assert remora("images", "-q") == ""
    image = remora.run("pull", "--tls-verify=false", debian_in_registry, timeout=120).stdout.split()[-1]
    assert remora("images", "-q", "--no-trunc").removeprefix("sha256:") == image.removeprefix("sha256:")

    tmux = Tmux(tmp_path, remora.environment)
    try:
        tmux.expect(r"^host> *$")
        tmux.type(f"remora run -it --name deb --hostname box {debian_in_registry}; echo status $?")
        tmux.expect(r"^root@box:/# *$")
        tmux.type('. /etc/os-release; echo "$ID-$VERSION_CODENAME on $(tty), $(stty size)"')
        tmux.expect(rf"^debian-{SUITE} on /dev/pts/0, 30 100$")
        # Line editing, history and completion: what bash does with single keys.
        tmux.keys("echo wrong", "C-a", "C-k", "echo ri", "Left", "Left", "Right", "Right", "ght", "Enter")
        tmux.expect(r"^right$")
        tmux.keys("Up", "Enter")
        eventually(lambda: len(re.findall(r"^right$", tmux.screen(), re.MULTILINE)) == 2, "the line from the history")
        tmux.keys("ls /etc/debian_v", "Tab", "Enter")
        tmux.expect(r"^/etc/debian_version$")
        # A job is interrupted, another suspended and taken up again.
        tmux.type("sleep 1000")
        tmux.expect(r"sleep 1000$")
        tmux.keys("C-c")
        tmux.expect(r"\^C")
        tmux.type("echo after $?")
        tmux.expect(r"^after 130$")
        tmux.type("cat")
        tmux.type("runs")
        eventually(lambda: len(re.findall(r"^runs$", tmux.screen(), re.MULTILINE)) == 2, "cat runs and repeats")
        tmux.keys("C-z")
        tmux.expect(r"Stopped +cat")
        tmux.type("fg")
        tmux.expect(r"^cat$")
        tmux.type("again")
        eventually(lambda: len(re.findall(r"^again$", tmux.screen(), re.MULTILINE)) == 2, "cat repeats the line")
        tmux.keys("C-d")
        tmux.resize(40, 120)
        tmux.type("stty size")
        tmux.expect(r"^40 120$")
        # Let go, look from outside, come back.
        tmux.type("value=kept")
        tmux.keys("C-p", "C-q")
        tmux.expect(r"status 0$")  # behind the prompt of the bash that was let go of
        tmux.expect(r"^host> *$")
        assert remora("ps", "--format", "{{.Names}} {{.Image}}") == f"deb {debian_in_registry}"
        tmux.type("remora attach deb; echo status $?")
        tmux.type("echo it is $value")
        tmux.expect(r"^it is kept$")
        tmux.type("exit 17")
        tmux.expect(r"^status 17$")
        tmux.type("stty -a | grep -o -w -e -icanon -e icanon -e -echo -e echo | tr '\n' ' '")
        tmux.expect(r"^icanon echo ")
    finally:
        tmux.close()
    assert remora("wait", "deb") == "17"


def test_a_pull_that_finds_nothing_names_the_image_and_the_registry(empty_remora: Remora, registry: str) -> None:
    result = empty_remora.run("pull", "--tls-verify=false", f"{registry}/absent:1", status=125)
    assert f"{registry}/absent:1" in result.stderr
    result = empty_remora.run("run", "--tls-verify=false", f"{registry}/absent:1", "true", status=125)
    assert f"{registry}/absent:1" in result.stderr
    assert empty_remora("ps", "-aq") == ""


def test_run_pulls_what_is_missing(empty_remora: Remora, debian_in_registry: str) -> None:
    result = empty_remora.run("run", "--rm", "--pull", "never", debian_in_registry, "true", status=125)
    assert debian_in_registry in result.stderr
    script = "test -e /etc/debian_version && echo $LANG"
    result = empty_remora.run("run", "--rm", "--tls-verify=false", debian_in_registry, "sh", "-c", script, timeout=120)
    assert result.stdout == "C.UTF-8\n"
