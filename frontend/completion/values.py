"""What a shell offers for a value: words that are known, and names that are looked up.

A value is described by a line of words. `always` is offered as it is; `@kind` stands for the names of that kind;
`container:@running` is offered as `container:` until it has been typed, then the names follow it.
Looking up is made for a key press: names and states of containers are read without their records, and what can't
be read offers nothing.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from remora.frontend.settings import Settings

OPEN_ENDED = (":", "=", ",")  # a word that ends so is not finished: no space after it
SHORTEST_ID = 2  # digits from which on ids are offered, where no name fits
SHORT = 12


class Offer:
    """What the shell is told. words: with what each is. files: "", `files` or `folders`: the shell's own completion,
    of what follows the first `skip` characters of the word."""

    __slots__ = ("words", "files", "skip")

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.files = ""
        self.skip = 0

    def add(self, word: str, text: str, current: str) -> None:
        """One more word, if it begins as what has been typed."""
        if word.startswith(current):
            self.words.setdefault(word, text)

    def lines(self) -> list[str]:
        """`WORD<tab>TEXT` for each; the last line is `:`, then words among `files`, `folders` and `open`, and a number:
        where the file name begins. `open`: no space is to follow."""
        found = [f"{word}\t{text}" for word, text in self.words.items() if word.isprintable()]
        unfinished = bool(self.words) and all(word.endswith(OPEN_ENDED) for word in self.words)
        kinds = [self.files] * bool(self.files) + ["open"] * unfinished or ["words"]
        found.append(f":{' '.join(kinds)} {self.skip}")
        return found


class Values:
    """The values on this machine, as the command would see them."""

    __slots__ = ("settings",)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def offer(self, complete: str, current: str, lead: str = "", without: Sequence[str] = ()) -> Offer:
        """What may stand for `current`. lead: `--option=` before it in the same word; without: names used already."""
        offer = Offer()
        for item in complete.split():
            prefix, at, kind = item.partition("@")
            if not at or not current.startswith(prefix):
                offer.add(lead + prefix, "", lead + current)
            elif kind in ("file", "folder"):
                offer.files = kind + "s"
                offer.skip = len(lead + prefix)
            else:
                rest = current.removeprefix(prefix)
                for word, text in self.names(kind, rest):
                    if word not in without:
                        offer.add(lead + prefix + word, text, lead + current)
        return offer

    def names(self, kind: str, typed: str) -> Iterable[tuple[str, str]]:
        """The names of a kind, each with what it is. typed: the beginning that the user has given."""
        kinds: dict[str, Callable[[str], Iterable[tuple[str, str]]]] = {
            "capability": _capabilities,
            "container": self._containers,
            "env": lambda typed: [(name, "") for name in sorted(self.settings.environ)],
            "filter": self._filters,
            "image": self._images,
            "imagefilter": _image_filters,
            "network": self._networks,
            "networkfilter": _network_filters,
            "object": lambda typed: [
                name for kind in ("container", "image", "volume") for name in self.names(kind, typed)
            ],
            "paused": lambda typed: self._containers(typed, ("paused",)),
            "place": lambda typed: ((name + ":", text) for name, text in self._containers(typed)),
            "running": lambda typed: self._containers(typed, ("running", "paused", "restarting", "starting")),
            "signal": _signals,
            "stopped": lambda typed: self._containers(typed, ("stopped",)),
            "ulimit": _limits,
            "volume": self._volumes,
        }
        look_up = kinds[kind]
        try:
            return list(look_up(typed))
        except Exception:  # half a store, a broken file: not the moment to tell
            return []

    # ---- containers -------------------------------------------------------------------------

    def _containers(self, typed: str, states: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        """Containers in one of these states (all, when none is given) by name, else by id."""
        every = []
        for name in sorted(os.listdir(self.settings.names)):
            container_id = os.readlink(f"{self.settings.names}/{name}").rpartition("/")[2]
            every.append((name, container_id))
        chosen = [(name, name, container_id) for name, container_id in every if name.startswith(typed)]
        if not chosen and len(typed) >= SHORTEST_ID:
            chosen = [(id[: max(SHORT, len(typed))], name, id) for name, id in every if id.startswith(typed)]
        for word, name, container_id in chosen:
            state = self._state(container_id)
            if not states or state in states:
                yield word, state if word == name else f"{name}, {state}"

    def _state(self, container_id: str) -> str:
        """`stopped`, or what its monitor's state file says."""
        run_dir = self.settings.run_dir(container_id)
        if not os.path.exists(run_dir):
            return "stopped"
        from remora import monitor

        if not monitor.lock_held(run_dir):
            return "stopped"
        try:
            status = (monitor.read_state(run_dir) or {}).get("status")
        except (OSError, ValueError):
            return "starting"
        return "stopped" if status == "exited" else str(status)

    def _filters(self, typed: str) -> Iterator[tuple[str, str]]:
        """Filters of ps; for some of them, what may follow."""
        from remora.frontend.container import filters

        key, equals, value = typed.partition("=")
        if not equals:
            yield from ((key + "=", "") for key in filters.KEYS)
        elif key == "status":
            yield from ((f"status={status}", "") for status in filters.STATUSES)
        else:
            kind = {"ancestor": "image", "network": "network", "volume": "volume"}.get(key, "")
            kind = "container" if key in ("name", "id", "before", "since") else kind
            if kind:
                yield from ((f"{key}={word}", text) for word, text in self.names(kind, value))

    # ---- images, networks, volumes -----------------------------------------------------------

    def _images(self, typed: str) -> Iterator[tuple[str, str]]:
        """Images by the shortest name that finds them, then by longer ones that begin as was typed; else by id."""
        from remora.frontend.errors import RemoraError
        from remora.frontend.images.store import Store

        store = Store(self.settings)
        images = store.images()
        found = False
        for image in images:
            for name in image.names:
                forms = [name[at:] for at in (0, *(i + 1 for i, letter in enumerate(name) if letter == "/"))][::-1]
                forms += [form.removesuffix(":latest") for form in forms if form.endswith(":latest")]
                for form in forms:
                    if not form.startswith(typed):
                        continue
                    try:
                        same = form == name or store.find(form).id == image.id
                    except RemoraError:
                        same = False
                    if same:
                        found = True
                        yield form, "" if form == name else name
                        if not typed:
                            break
        if not found and len(typed) >= SHORTEST_ID:
            for image in images:
                yield image.id[: max(SHORT, len(typed))], image.name

    def _networks(self, typed: str) -> Iterator[tuple[str, str]]:
        from remora.frontend.networks import definitions

        for network in definitions.everything(self.settings, []):
            yield network["name"], str(network.get("driver", ""))

    def _volumes(self, typed: str) -> Iterator[tuple[str, str]]:
        from remora.frontend.volumes import store

        yield from ((name, "") for name in store.listed(self.settings))


def _capabilities(typed: str) -> Iterator[tuple[str, str]]:
    from remora.frontend.oci import capabilities

    yield capabilities.ALL, ""
    for name in sorted(capabilities.NAMES):
        yield name.removeprefix("CAP_"), ""
        if typed.startswith("CAP_"):
            yield name, ""


def _signals(typed: str) -> Iterator[tuple[str, str]]:
    import signal

    for number in signal.Signals:
        yield number.name if typed.startswith("SIG") else number.name.removeprefix("SIG"), str(int(number))


def _limits(typed: str) -> Iterator[tuple[str, str]]:
    from remora.frontend.oci import rlimits

    yield from ((name + "=", "") for name in rlimits.NUMBERS)


def _image_filters(typed: str) -> Iterator[tuple[str, str]]:
    from remora.frontend.images import listing

    yield from ((key + "=", "") for key in listing.FILTERS)
    if typed.startswith("dangling="):
        yield from (("dangling=true", ""), ("dangling=false", ""))


def _network_filters(typed: str) -> Iterator[tuple[str, str]]:
    from remora.frontend.networks import describe

    yield from ((key + "=", "") for key in describe.FILTERS)
