"""Reading of cgroups of both versions, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from remora.frontend.container import cgroup, columns, usage

ID = "ab" * 32
MOUNTS_V1 = """
30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:5 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:6 - cgroup2 cgroup2 rw,nsdelegate
35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
36 30 0:32 /outer /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory
""".strip()
MOUNTS_V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def write(folder: Path, **files: str) -> str:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return str(folder)


def test_a_containers_group_is_found_in_each_hierarchy_of_version_1() -> None:
    text = f"4:memory:/outer/remora/{ID}/below\n3:cpu,cpuacct:/remora/{ID}\n2:freezer:/elsewhere\n0::/\n"
    paths = cgroup.parse(text, ID)
    assert paths == {"memory": f"/outer/remora/{ID}", "cpu": f"/remora/{ID}", "cpuacct": f"/remora/{ID}"}
    at = cgroup.parse_mounts(MOUNTS_V1)
    assert cgroup.folder(paths, at, "cpuacct") == f"/sys/fs/cgroup/cpu,cpuacct/remora/{ID}"
    assert cgroup.folder(paths, at, "memory") == f"/sys/fs/cgroup/memory/remora/{ID}"
    assert cgroup.folder(paths, at, cgroup.UNIFIED) == ""


def test_a_containers_scope_is_found_in_the_unified_hierarchy_also_from_a_group_below() -> None:
    paths = cgroup.parse(f"0::/machine.slice/remora-{ID}.scope/init.scope\n", ID)
    found = cgroup.folder(paths, cgroup.parse_mounts(MOUNTS_V2), cgroup.UNIFIED)
    assert found == f"/sys/fs/cgroup/machine.slice/remora-{ID}.scope"
    assert cgroup.parse("0::/user.slice\n", ID) == {}


def test_version_2_is_read(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "group",
        cpu__stat="usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
        memory__current="9000000\n",
        memory__max="max\n",
        memory__stat="anon 1\nfile 5000000\ninactive_file 4000000\n",
        pids__current="7\n",
        io__stat="8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
    )
    found = usage.Usage()
    usage.read_v2(found, folder)
    assert (found.cpu_ns, found.system_ns) == (2_500_000_000, 500_000_000)
    assert (found.memory, found.memory_limit, found.pids) == (5_000_000, 0, 7)
    assert (found.block_in, found.block_out) == (4097, 8194)
    (Path(folder) / "memory.max").write_text("268435456\n")
    usage.read_v2(found, folder)
    assert found.memory_limit == 256 << 20


def test_version_1_is_read_and_a_controller_that_is_not_there_counts_as_nothing(tmp_path: Path) -> None:
    folders = {
        "cpuacct": write(tmp_path / "cpuacct", cpuacct__usage="123456789\n", cpuacct__stat="user 5\nsystem 7\n"),
        "memory": write(
            tmp_path / "memory",
            memory__usage_in_bytes="9000000\n",
            memory__limit_in_bytes="9223372036854771712\n",
            memory__stat="inactive_file 1\ntotal_inactive_file 4000000\n",
        ),
        "blkio": write(
            tmp_path / "blkio",
            blkio__throttle__io_service_bytes="8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:16 Read 1\nTotal 12289\n",
        ),
        "pids": "",
    }
    found = usage.Usage()
    usage.read_v1(found, folders)
    assert (found.cpu_ns, found.memory, found.pids) == (123_456_789, 5_000_000, 0)
    assert found.memory_limit == 9223372036854771712
    assert (found.block_in, found.block_out) == (4097, 8192)


def test_all_interfaces_but_the_loopback_are_counted() -> None:
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n"
        "    lo:     900       9    0    0    0     0          0         0      900       9    0    0\n"
        "  eth0:    1000       1    0    0    0     0          0         0       20       2    0    0\n"
        "  eth1:3000000000     1    0    0    0     0          0         0        5       2    0    0\n"
    )
    assert usage.network(text) == (3_000_001_000, 25)
    assert usage.network("") == (0, 0)


def test_durations_are_shown_as_go_does_and_clocks_as_ps_does() -> None:
    assert [columns.go_duration(ns) for ns in (0, 250_000_000, 1_500_000_000, 60_000_000_000, 3_723_500_000_000)] == [
        "0s",
        "250ms",
        "1.5s",
        "1m0s",
        "1h2m3.5s",
    ]
    assert [columns.clock(seconds) for seconds in (0, 3723, 90061)] == ["00:00:00", "01:02:03", "1-01:01:01"]
