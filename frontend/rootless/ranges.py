"""The ids of an ordinary user: /etc/subuid and /etc/subgid, and the map they make (subuid(5), user_namespaces(7)).

The map is the same for all containers of a user, so that files on disk mean the same to each: 0 is the user, 1 … are
the ranges in the order of the files. Where the files have nothing and nsswitch.conf names another source, getsubids(1)
is asked. Without ranges there is the single id 0.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings

FILES = ("/etc/subuid", "/etc/subgid")
SWITCH = "/etc/nsswitch.conf"
FIRST = 100000
SIZE = 65536


class Ranges:
    """What a user may map. name: the login name; uids, gids: (start, count) in the order of the files."""

    __slots__ = ("gid", "gids", "name", "uid", "uids")

    def __init__(self, name: str, uid: int, gid: int, uids: list[tuple[int, int]], gids: list[tuple[int, int]]) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.uids = uids
        self.gids = gids

    @property
    def single(self) -> bool:
        """Whether there is only the user's own id: one of the two files has no range."""
        return not self.uids or not self.gids

    @property
    def uid_map(self) -> list[tuple[int, int, int]]:
        """(inside, outside, count) of each extent."""
        return _map(self.uid, [] if self.single else self.uids)

    @property
    def gid_map(self) -> list[tuple[int, int, int]]:
        """(inside, outside, count) of each extent."""
        return _map(self.gid, [] if self.single else self.gids)

    def command(self) -> str:
        """The command that adds ranges that nobody has yet."""
        words = ["sudo usermod"]
        for option, mine, path in zip(("--add-subuids", "--add-subgids"), (self.uids, self.gids), FILES, strict=True):
            if not mine:
                start = _free(path)
                words.append(f"{option} {start}-{start + SIZE - 1}")
        return " ".join([*words, self.name])


def load(settings: Settings) -> Ranges:
    """The user's ranges; empty lists where there are none."""
    name = login_name(settings.uid)
    uids, gids = (_of(path, name, settings.uid) for path in FILES)
    if not (uids and gids) and _elsewhere():
        uids, gids = uids or _asked([], name), gids or _asked(["-g"], name)
    return Ranges(name, settings.uid, settings.gid, uids, gids)


def login_name(uid: int) -> str:
    """The user's name; the number as text where the user database has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _map(own: int, ranges: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    extents = [(0, own, 1)]
    inside = 1
    for start, count in ranges:
        extents.append((inside, start, count))
        inside += count
    return extents


def _lines(path: str) -> list[tuple[str, int, int]]:
    """(owner, start, count) of each line that is one."""
    try:
        with open(path, "rb", buffering=0) as file:
            lines = file.readall().decode(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal() and int(fields[2]):
            found.append((fields[0], int(fields[1]), int(fields[2])))
    return found


def _of(path: str, name: str, uid: int) -> list[tuple[int, int]]:
    return [(start, count) for owner, start, count in _lines(path) if owner in (name, str(uid))]


def _free(path: str) -> int:
    """The start of a range that no line of the file reaches."""
    end = max([start + count for _, start, count in _lines(path)], default=FIRST)
    return max(end, FIRST)


def _elsewhere() -> bool:
    """Whether nsswitch.conf(5) names another source of ranges than the files."""
    try:
        with open(SWITCH, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    sources = [line.partition(":")[2].split() for line in lines if line.partition(":")[0].strip() == "subid"]
    return any(words and words != ["files"] for words in sources)


def _asked(option: list[str], name: str) -> list[tuple[int, int]]:
    """What getsubids tells: `0: alice 100000 65536`."""
    from remora.frontend import process

    try:
        text = process.capture(["getsubids", *option, name]).stdout.decode(errors="replace")
    except (FileNotFoundError, OSError):
        return []
    rows = [line.split() for line in text.splitlines()]
    return [(int(row[2]), int(row[3])) for row in rows if len(row) == 4 and row[2].isdecimal() and row[3].isdecimal()]
