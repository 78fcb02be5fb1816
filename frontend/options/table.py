"""The options of `run` and `create`, one line each: spelling (Docker's and Podman's), kind, value, help."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser

FLAG = 0  # on or off
ON = 1  # a flag that is on unless `=false` is given
VALUE = 2  # one value, the last one counts; None when not given
LIST = 3  # may be given several times


class Option:
    """One option. names: long one first, then the others."""

    __slots__ = ("names", "kind", "metavar", "help", "only")

    def __init__(self, names: str, kind: int, metavar: str, help: str, only: str = "") -> None:
        self.names = names.split()
        self.kind = kind
        self.metavar = metavar
        self.help = help
        self.only = only  # the one command that has it, "" = both


OPTIONS = (
    Option("--add-host", LIST, "NAME:ADDRESS", "Line of /etc/hosts; the address may be host-gateway"),
    Option("--annotation", LIST, "KEY=VALUE", "Annotation in the runtime's configuration"),
    Option("--attach -a", LIST, "STREAM", "Attach only this stream: stdin, stdout or stderr"),
    Option("--cap-add", LIST, "CAP", "Add a capability, or ALL"),
    Option("--cap-drop", LIST, "CAP", "Drop a capability, or ALL"),
    Option("--cgroupns", VALUE, "MODE", "cgroup namespace: private (default with cgroups v2), host, container:, ns:"),
    Option("--cidfile", VALUE, "FILE", "Write the container's id to this new file"),
    Option("--cpu-shares -c", VALUE, "N", "Relative weight of CPU time"),
    Option("--cpus", VALUE, "N", "Number of CPUs, as 0.5"),
    Option("--cpuset-cpus", VALUE, "LIST", "CPUs that may be used, as 0-1,3"),
    Option("--detach -d", FLAG, "", "Leave the container running and print its id", "run"),
    Option("--detach-keys", VALUE, "KEYS", 'Keys that let go of the container (default ctrl-p,ctrl-q; "" = none)'),
    Option("--device", LIST, "HOST[:PATH][:rwm]", "Give it a device of the host"),
    Option("--device-cgroup-rule", LIST, "RULE", 'Allow devices by number, as "c 10:229 rwm"'),
    Option("--dns", LIST, "ADDRESS", "Name server in place of the host's, or none to leave the image's resolv.conf"),
    Option("--dns-option --dns-opt", LIST, "OPTION", "Option of resolv.conf"),
    Option("--dns-search", LIST, "DOMAIN", 'Search domain of resolv.conf, "." for none'),
    Option("--entrypoint", VALUE, "COMMAND", "Replace the image's entry point (a word or a JSON list)"),
    Option("--env -e", LIST, "NAME[=VALUE]", "Set an environment variable, or hand on the caller's"),
    Option("--env-file", LIST, "FILE", "Read environment variables from a file"),
    Option("--env-host", FLAG, "", "Set the caller's environment variables"),
    Option("--expose", LIST, "PORT", "A port that --publish-all publishes, as 80 or 53/udp"),
    Option("--gidmap", LIST, "ID:ID:N", "Map N group ids of the container to those outside from the second on"),
    Option("--group-add", LIST, "GROUP", "Further group of its user, or keep-groups: the caller's own"),
    Option("--group-entry", VALUE, "LINE", "Line added to /etc/group for an unknown group ($GROUPNAME $GID $USERLIST)"),
    Option("--hostname -h", VALUE, "NAME", "Host name in the container"),
    Option("--hostuser", LIST, "USER", "Add this user of the host to the container's /etc/passwd"),
    Option("--http-proxy", FLAG, "", "Set the caller's proxy variables (default true)"),
    Option("--image-volume", VALUE, "MODE", "What the image's volumes become: anonymous (default), tmpfs or ignore"),
    Option("--init", FLAG, "", "Run an init that reaps processes as PID 1"),
    Option("--interactive -i", FLAG, "", "Keep stdin open"),
    Option("--ip", VALUE, "ADDRESS", "IPv4 address on its network"),
    Option("--ip6", VALUE, "ADDRESS", "IPv6 address on its network"),
    Option("--ipc", VALUE, "MODE", "IPC namespace: shareable (default), private, none, host, container:NAME, ns:PATH"),
    Option("--label -l", LIST, "KEY=VALUE", "Label of the container"),
    Option("--label-file", LIST, "FILE", "Read labels from a file"),
    Option("--log-driver", LIST, "DRIVER", "k8s-file (default), json-file, journald (any of them); none, passthrough"),
    Option("--log-opt", LIST, "KEY=VALUE", "max-size, max-file, path, tag, labels, mode=block|drop|rate, rate …"),
    Option("--mac-address", VALUE, "ADDRESS", "Hardware address on its network"),
    Option("--memory -m", VALUE, "BYTES", "Memory limit, as 512m"),
    Option("--memory-swap", VALUE, "BYTES", "Limit of memory and swap together, -1 = none"),
    Option("--mount", LIST, "SPEC", "type=volume|bind|tmpfs,source=…,target=…[,ro …]"),
    Option("--name", VALUE, "NAME", "Name of the container (default: a random one)"),
    Option(
        "--network --net",
        LIST,
        "NETWORK",
        "none, host, pasta, slirp4netns, container:NAME, ns:PATH, or NAME[:ip=…,alias=…] of a bridge",
    ),
    Option("--network-alias", LIST, "NAME", "A further name that it answers to on its networks"),
    Option("--no-hosts", FLAG, "", "Leave the image's /etc/hosts alone"),
    Option("--oom-score-adj", VALUE, "N", "How soon the kernel kills it when memory is short: -1000 to 1000"),
    Option("--passwd", ON, "", "Add users that the image lacks to /etc/passwd and /etc/group (default true)"),
    Option("--passwd-entry", VALUE, "LINE", "Line added to /etc/passwd ($USERNAME $UID $GID $NAME $HOME)"),
    Option("--pid", VALUE, "MODE", "PID namespace: private (default), host, container:NAME or ns:PATH"),
    Option("--pidfile", VALUE, "FILE", "Write the pid of the container's first process"),
    Option("--pids-limit", VALUE, "N", "Limit of processes (default 2048; -1 = none)"),
    Option("--preserve-fds", VALUE, "N", "Hand on N descriptors from 3 on", "run"),
    Option("--privileged", FLAG, "", "All capabilities and devices, nothing masked"),
    Option("--publish -p", LIST, "SPEC", "Publish a port: [[ADDRESS:][HOST-PORT]:]PORT[/PROTOCOL], ranges as 80-89"),
    Option("--publish-all -P", FLAG, "", "Publish all exposed ports, each at any free port of the host"),
    Option("--pull", VALUE, "POLICY", "always, missing (default), never or newer"),
    Option("--quiet -q", FLAG, "", "No progress while pulling"),
    Option("--read-only", FLAG, "", "Read-only root file system"),
    Option("--read-only-tmpfs", ON, "", "With --read-only: writable /run, /tmp and /var/tmp (default true)"),
    Option("--restart", VALUE, "POLICY", "no, on-failure[:N], always or unless-stopped"),
    Option("--rm", FLAG, "", "Remove the container when it has ended"),
    Option("--rootfs", FLAG, "", "The first argument is a folder to run in instead of an image"),
    Option("--runtime", VALUE, "PROGRAM", "OCI runtime: a name in PATH or a path"),
    Option(
        "--security-opt", LIST, "OPTION", "seccomp=, apparmor=, label=, mask=, unmask=, proc-opts=, no-new-privileges"
    ),
    Option("--shm-size", VALUE, "BYTES", "Size of /dev/shm, as 64m (default); 0 = no limit"),
    Option("--sig-proxy", ON, "", "Pass signals on to the container (default true)", "run"),
    Option("--stop-signal", VALUE, "SIGNAL", "Signal that stops the container (default TERM)"),
    Option("--stop-timeout", VALUE, "SECONDS", "Time before it is killed (default 10)"),
    Option("--subgidname", VALUE, "NAME", "Map the ids of this name in /etc/subgid"),
    Option("--subuidname", VALUE, "NAME", "Map the ids of this name in /etc/subuid"),
    Option("--sysctl", LIST, "NAME=VALUE", "Kernel parameter of its namespaces, as net.core.somaxconn=1024"),
    Option("--timeout", VALUE, "SECONDS", "Kill the container after this time"),
    Option("--tls-verify", ON, "", "Check the registry's certificate when pulling (default true)"),
    Option("--tmpfs", LIST, "PATH[:OPTIONS]", "Mount a tmpfs"),
    Option("--tty -t", FLAG, "", "Give the container a terminal"),
    Option("--tz", VALUE, "ZONE", "Time zone, as Europe/Rome, or local for the host's"),
    Option("--uidmap", LIST, "ID:ID:N", "Map N user ids of the container to those outside from the second on"),
    Option("--ulimit", LIST, "NAME=SOFT[:HARD]", "Resource limit of its processes; host: those of the caller"),
    Option("--umask", VALUE, "MASK", "File mode mask (default 0022)"),
    Option("--user -u", VALUE, "USER[:GROUP]", "User to run as, names or numbers"),
    Option("--userns", VALUE, "MODE", "User namespace: host (default), auto, keep-id, nomap, container:NAME, ns:PATH"),
    Option("--uts", VALUE, "MODE", "UTS namespace: private (default), host, container:NAME or ns:PATH"),
    Option("--volume -v", LIST, "[SRC:]DST[:OPTIONS]", "Mount a host path, a volume by name, or an anonymous one"),
    Option("--volumes-from", LIST, "CONTAINER[:ro]", "Mount the volumes and host paths of another container"),
    Option("--workdir -w", VALUE, "PATH", "Working directory"),
)

JOINED = " container:@running ns:@file"
# What a shell offers as their values (ArgumentParser.add_argument, `complete`), where the metavar does not tell.
COMPLETE = {
    "--attach": "stdin stdout stderr",
    "--cap-add": "@capability",
    "--cap-drop": "@capability",
    "--cgroupns": "private host" + JOINED,
    "--device": "@file",
    "--env": "@env",
    "--image-volume": "anonymous tmpfs ignore",
    "--ipc": "shareable private none host" + JOINED,
    "--log-driver": "k8s-file json-file journald none passthrough",
    "--network": "none host pasta slirp4netns @network" + JOINED,
    "--pid": "private host" + JOINED,
    "--pull": "always missing never newer",
    "--restart": "no on-failure always unless-stopped",
    "--runtime": "crun runc @file",
    "--security-opt": "seccomp=@file apparmor= label= mask= unmask= proc-opts= no-new-privileges",
    "--stop-signal": "@signal",
    "--ulimit": "host @ulimit",
    "--userns": "host auto keep-id nomap" + JOINED,
    "--uts": "private host" + JOINED,
    "--volume": "@volume @file",
    "--volumes-from": "@container",
    "--workdir": "",
}


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """Add the options of `run` or `create`, the image and the command to a parser."""
    for option in OPTIONS:
        if option.only not in ("", command):
            continue
        offered = COMPLETE.get(option.names[0])
        if option.kind == FLAG:
            parser.add_argument(*option.names, action="store_true", help=option.help)
        elif option.kind == ON:
            parser.add_argument(*option.names, action="store_true", default=True, help=option.help)
        elif option.kind == VALUE:
            parser.add_argument(*option.names, metavar=option.metavar, help=option.help, complete=offered)
        else:
            parser.add_argument(
                *option.names, action="append", metavar=option.metavar, help=option.help, complete=offered
            )
    # Not given: registries.conf or containers.conf decides.
    parser.set_defaults(tls_verify=None, env_host=None, http_proxy=None, init=None, read_only=None)
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("command", nargs="...", metavar="COMMAND")
