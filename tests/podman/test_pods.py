"""Pods, Kubernetes files and health checks."""

from __future__ import annotations

from pathlib import Path

from tests.podman.engine import Podman
from tests.support.waiting import eventually


def test_pod_members_share_their_network(podman: Podman) -> None:
    podman("pod", "create", "--name", "p", "--network", "none")
    podman(
        "run",
        "-d",
        "--pod",
        "p",
        "--name",
        "a",
        "busybox",
        "sh",
        "-c",
        "echo ready; echo hello | nc -l -p 7000; exec sleep 1000",
    )
    podman.logged("a", b"ready")
    client = "while ! nc 127.0.0.1 7000; do sleep 0.05; done"
    assert podman("run", "--rm", "--pod", "p", "busybox", "sh", "-c", client) == "hello"


def test_pod_stop_and_start_take_all_with_them(podman: Podman) -> None:
    podman("pod", "create", "--name", "p", "--network", "none")
    for name in ("a", "b"):
        podman(
            "run",
            "-d",
            "--pod",
            "p",
            "--name",
            name,
            "busybox",
            "sh",
            "-c",
            "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done",
        )
        podman.logged(name, b"ready")
    podman("pod", "stop", "p")
    assert [podman.state(name, "ExitCode") for name in ("a", "b")] == ["4", "4"]
    podman("pod", "start", "p")
    assert [podman.state(name, "Status") for name in ("a", "b")] == ["running", "running"]
    podman("pod", "kill", "p")
    assert [podman("wait", name) for name in ("a", "b")] == ["137", "137"]
    podman("pod", "rm", "-f", "-t", "0", "p")
    assert podman("ps", "-aq") == ""


def test_generate_and_play_kube_bring_a_pod_back(podman: Podman, tmp_path: Path) -> None:
    podman("pod", "create", "--name", "p", "--network", "none")
    podman("run", "-d", "--pod", "p", "--name", "a", "busybox", "sh", "-c", "echo up; exec sleep 1000")
    podman("run", "-d", "--pod", "p", "--name", "b", "busybox", "sh", "-c", "echo also; exec sleep 1000")
    file = tmp_path / "pod.yaml"
    file.write_text(podman("generate", "kube", "p") + "\n")
    podman("pod", "rm", "-f", "-t", "0", "p")
    podman("play", "kube", "--network", "none", str(file))
    podman.logged("p-a", b"up\n")
    podman.logged("p-b", b"also\n")
    assert podman("pod", "inspect", "-f", "{{.State}}", "p") == "Running"
    podman("play", "kube", "--down", str(file))
    assert podman("ps", "-aq") == ""


def test_health_check_by_hand(podman: Podman) -> None:
    podman.start(
        "sleep", "1000", options=["--name", "c", "--health-cmd", "test -e /well", "--health-interval", "disable"]
    )
    podman.run("healthcheck", "run", "c", status=1)
    podman("exec", "c", "touch", "/well")
    podman.run("healthcheck", "run", "c", status=0)
    before = len(podman.processes())
    for _ in range(3):
        podman("healthcheck", "run", "c")
    eventually(lambda: len(podman.processes()) <= before, "a check leaves no process")


def test_commit_cp_and_top_of_a_running_container(podman: Podman) -> None:
    podman.start("sh", "-c", "echo data > /file; echo ready; exec sleep 1000", options=["--name", "c"])
    podman.logged("c", b"ready")
    assert "sleep" in podman("top", "c", "args")
    podman("cp", "c:/file", str(podman.folder / "copied"))
    assert (podman.folder / "copied").read_text() == "data\n"
    (podman.folder / "copied").unlink()


def test_init_containers_run_before_the_others(podman: Podman) -> None:
    podman("pod", "create", "--name", "p", "--network", "none")
    podman("create", "--init-ctr", "always", "--pod", "p", "--name", "i", "busybox", "sh", "-c", "echo first")
    podman("create", "--pod", "p", "--name", "a", "busybox", "sh", "-c", "exec sleep 1000")
    podman("pod", "start", "p")
    assert podman.state("i", "ExitCode") == "0"
    assert podman.logs("i") == b"first\n"
    assert podman.state("a", "Status") == "running"
