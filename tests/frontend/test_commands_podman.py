"""The same commands, one after the other, given to Remora and to Podman: statuses and standard output must be equal.

Where Remora differs on purpose the table says so, with the reason.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Remora

Answer = tuple[int, str]
RUN = ("--network", "none", "--ulimit", "nofile=512:512", "--ulimit", "nproc=1000:1000")
DEADLINE = 60.0

# Every step changes what the next ones see, as in a session.
STEPS: list[tuple[str, ...]] = [
    ("run", "-d", *RUN, "--name", "web", "--label", "a=b", "busybox", "sleep", "1000"),
    ("run", *RUN, "--name", "job", "busybox", "sh", "-c", "echo out; exit 3"),
    ("create", *RUN, "--name", "new", "--stop-signal", "USR1", "busybox", "true"),
    ("create", *RUN, "--name", "web", "busybox", "true"),
    ("create", *RUN, "--name", "../x", "busybox", "true"),
    ("ps", "-a", "--format", "{{.Names}} {{.State}}"),
    ("ps", "-a", "--format", "{{.Names}}\\t{{.ExitCode}}"),
    ("ps", "-a", "--format", "table {{.Names}} {{.Image}}"),
    ("ps", "-a", "--noheading", "--format", "table {{.ID}}\\t{{.Names}}"),
    ("ps", "-aq"),
    ("ps", "-q", "--no-trunc"),
    ("ps", "-l", "--format", "{{.Names}}"),
    ("ps", "-n", "2", "--format", "{{.Names}}"),
    ("ps", "--sort", "names", "-a", "--format", "{{.Names}}"),
    ("ps", "--format", "{{.Names}} {{.Command}} {{.Labels}} {{.Image}} {{.Ports}}"),
    ("ps", "--format", "{{.Nope}}"),
    ("ps", "--format", "{{.Names"),
    ("ps", "--filter", "status=exited", "--format", "{{.Names}}"),
    ("ps", "-a", "--filter", "exited=3", "--format", "{{.Names}}"),
    ("ps", "-a", "--filter", "label=a=b", "--format", "{{.Names}}"),
    ("ps", "-a", "--filter", "label=a", "--filter", "name=job", "--format", "{{.Names}}"),
    ("ps", "-a", "--filter", "name=^w", "--filter", "name=o", "--format", "{{.Names}}"),
    ("ps", "-a", "--filter", "before=job", "--format", "{{.Names}}"),
    ("ps", "-a", "--filter", "since=job", "--format", "{{.Names}}"),
    ("ps", "--filter", "bogus=x"),
    ("ps", "--filter", "status=bogus"),
    ("wait", "job", "job", "new"),
    ("wait", "nope"),
    ("wait", "job", "nope"),
    ("wait",),
    ("wait", "--condition", "bogus", "web"),
    ("wait", "--condition", "running", "web"),
    ("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.OOMKilled}}", "job"),
    ("inspect", "-f", "{{.Name}} {{.Path}} {{.Args}} {{.ImageName}} {{.RestartCount}}", "web"),
    ("inspect", "-f", "{{json .Config.Labels}} {{.Config.Labels}} {{.Config.Labels.a}}", "web"),
    ("inspect", "-f", '{{index .Config.Labels "a"}}|{{index .Config.Labels "x"}}|{{.Config.Labels.x}}', "web"),
    ("inspect", "-f", "{{range .Args}}[{{.}}]{{end}}{{if .State.Running}} up{{else}} down{{end}}", "web"),
    ("inspect", "-f", "{{range $i, $a := .Args}}{{$i}}={{$a}};{{end}} {{len .Args}}", "job"),
    ("inspect", "-f", "{{json .Args}} {{join .Args `,`}} {{upper .Name}} {{.Name | title}}", "job"),
    ("inspect", "-f", '{{printf "%5d|%-6s|%q|%v" .State.ExitCode .Name .Name .State.Running}}', "job"),
    ("inspect", "-f", '{{with .Config}}{{.Tty}}{{end}} {{eq .Name "job"}} {{and true .State.Running}}', "job"),
    ("inspect", "-f", "{{.Config.StopSignal}} {{.HostConfig.NetworkMode}} {{.HostConfig.AutoRemove}}", "new"),
    ("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}} {{.State.Pid}}", "new"),
    ("inspect", "-f", "{{.Nope}}", "web"),
    ("inspect", "-f", "{{nope .Name}}", "web"),
    ("inspect", "nope"),
    ("inspect", "-f", "{{.Name}}", "web", "nope", "job"),
    ("inspect", "--type", "container", "-f", "{{.Name}}", "busybox"),
    ("inspect", "--type", "image", "-f", "{{.RepoTags}} {{.Os}}", "busybox"),
    ("logs", "job"),
    ("logs", "-f", "job"),
    ("logs", "--tail", "0", "job"),
    ("logs", "--since", "1h", "job"),
    ("logs", "--until", "1h", "job"),
    ("logs", "new"),
    ("logs", "nope"),
    ("logs", "--tail", "x", "job"),
    ("logs", "--since", "bogus", "job"),
    ("logs", "-n", "job", "new"),
    ("logs", "job", "new"),
    ("logs",),
    ("exec", "web", "sh", "-c", "echo hello; exit 5"),
    ("exec", "-w", "/tmp", "web", "pwd"),
    ("exec", "-e", "A=b", "web", "sh", "-c", "echo $A"),
    ("exec", "-u", "7:8", "web", "sh", "-c", "id -u; id -g"),
    ("exec", "--user", "7", "--workdir=/", "web", "pwd"),
    ("exec", "web", "nocmd"),
    ("exec", "web", "/etc"),
    ("exec", "nope", "true"),
    ("exec",),
    ("kill", "job"),
    ("kill", "nope"),
    ("kill", "-s", "BOGUS", "web"),
    ("kill", "-s", "CONT", "web"),
    ("stop", "job"),
    ("stop", "nope"),
    ("stop", "-i", "nope"),
    ("stop",),
    ("pause", "job"),
    ("unpause", "web"),
    ("pause", "web"),
    ("ps", "--format", "{{.Names}} {{.State}}"),
    ("unpause", "web"),
    ("unpause", "nope"),
    ("rename", "nope", "x"),
    ("rename", "new", "../x"),
    ("rename", "new", "job"),
    ("rename", "new"),
    ("rename", "new", "newer"),
    ("ps", "-a", "--format", "{{.Names}}"),
    ("start", "web"),
    ("start", "nope"),
    ("start", "-a", "job"),
    ("start", "-a", "job", "newer"),
    ("attach", "job"),
    ("attach", "nope"),
    ("restart", "-t", "0", "web"),
    ("restart", "nope"),
    ("container", "inspect", "-f", "{{.State.Running}}", "web"),
    ("container", "ls", "--format", "{{.Names}}"),
    ("rm", "web"),
    ("rm", "nope"),
    ("rm", "-i", "nope"),
    ("rm", "-f", "nope"),
    ("rm",),
    ("rm", "web", "newer"),
    ("kill", "web"),
    ("wait", "web"),
    ("rm", "-f", "-t", "0", "web", "job"),
    ("ps", "-a", "--noheading"),
    ("bogus",),
    ("ps", "--bogus"),
]

# What Remora answers instead, and why.
ON_PURPOSE: dict[tuple[str, ...], Answer] = {
    # Podman's template gives the text of `.Status` here, its JSON `running`: we give the one word in both, as Docker.
    ("ps", "-a", "--format", "{{.Names}} {{.State}}"): (0, "web running\njob exited\nnew created\n"),
    # Podman takes a duration as so much in the future; with Docker, and with `--since`, it is so long ago.
    ("logs", "--until", "1h", "job"): (0, ""),
    # Docker, and Podman since 4.4, name a container also when it was running already.
    ("start", "web"): (0, "web\n"),
    # Paused containers have processes: Docker lists them without --all.
    ("ps", "--format", "{{.Names}} {{.State}}"): (0, "web paused\n"),
}


def normal(text: str) -> str:
    """Ids, their beginnings and pids replaced; blanks at the ends of lines (of a table) dropped."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "ID", text)
    text = re.sub(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{12}\b", "SHORT", text)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, storage_conf: Path, busybox_tar: Path) -> dict[str, list[Answer]]:
    """What each program answered to each step."""
    podman = shutil.which("podman")
    if podman is None:
        pytest.skip("podman is not installed")
    folder = tmp_path_factory.mktemp("both")
    remora = Remora(folder / "remora", storage_conf)
    conf = folder / "containers.conf"
    conf.write_text('[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    prefix = [podman, "--root", f"{folder}/podman", "--runroot", f"{folder}/podman-run"]
    environment = {"PATH": remora.environment["PATH"], "CONTAINERS_CONF": str(conf), "HOME": str(folder)}

    def ask_podman(*words: str) -> Answer:
        result = subprocess.run(
            [*prefix, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return result.returncode, normal(result.stdout)

    def ask_remora(*words: str) -> Answer:
        result = remora.run(*words, status=None)
        assert "Traceback" not in result.stderr
        return result.returncode, normal(result.stdout)

    changes = ["-c", 'CMD ["/bin/sh"]', "-c", "ENV PATH=/bin:/usr/bin"]
    status, _ = ask_podman("import", *changes, str(busybox_tar), "busybox")
    assert status == 0
    programs: dict[str, Callable[..., Answer]] = {"podman": ask_podman, "remora": ask_remora}
    try:
        return {name: [ask(*step) for step in STEPS] for name, ask in programs.items()}
    finally:
        remora.clear()
        ask_podman("rm", "--all", "--force", "--time", "0")
        subprocess.run(["umount", f"{folder}/podman/overlay"], capture_output=True, check=False)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[" ".join(step) for step in STEPS])
def test_remora_answers_as_podman_does(answers: dict[str, list[Answer]], number: int) -> None:
    expected = ON_PURPOSE.get(STEPS[number], answers["podman"][number])
    assert answers["remora"][number] == expected
