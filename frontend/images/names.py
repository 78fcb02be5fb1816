"""Image names: the grammar of references, and how short ones are completed.

`[domain/]path[:tag][@sha256:hex]`. The first component is a domain if it has a dot or a colon or is `localhost`;
a name without one is *short*. (Grammar: the distribution project's reference package; completion: libimage's.)
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HEX = frozenset("0123456789abcdef")
WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
TAG = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
DOMAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]")
MAX_PATH = 255
MAX_TAG = 128


class Reference:
    """One parsed name. domain "" = short; tag and digest "" = not given. digest: `sha256:<64 hex>`."""

    __slots__ = ("domain", "path", "tag", "digest")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def repository(self) -> str:
        """Domain and path."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return self.repository + tag + digest

    def tagged(self) -> Reference:
        """The same with `:latest` if it had neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return Reference(self.domain, self.path, "latest")

    def at(self, domain: str) -> Reference:
        """The same path in another registry, with Docker Hub's `library/` where it belongs."""
        return Reference(domain, _library(domain, self.path), self.tag, self.digest)


def _library(domain: str, path: str) -> str:
    return f"library/{path}" if domain == "docker.io" and "/" not in path else path


def is_id(text: str) -> bool:
    """A full image id: 64 lower-case hex digits."""
    return len(text) == 64 and HEX.issuperset(text)


def is_digest(text: str) -> bool:
    """`sha256:` and 64 hex digits."""
    return text.startswith("sha256:") and is_id(text[7:])


def _component(text: str) -> bool:
    """Words of letters and digits, joined by `.`, `_`, `__` or any number of `-`."""
    if not text or text[0] not in WORD or text[-1] not in WORD:
        return False
    at = 0
    while at < len(text):
        if text[at] in WORD:
            at += 1
            continue
        end = at
        while text[end] not in WORD:
            end += 1
        between = text[at:end]
        if between not in (".", "_", "__") and between.strip("-"):
            return False
        at = end
    return True


def parse(text: str) -> Reference:
    """A name as typed; RemoraError when it can't be one."""
    rest, at_sign, digest = text.partition("@")
    if at_sign and not is_digest(digest):
        raise _invalid(text, f'"{digest}" is not a digest like sha256:<64 hex digits>')
    first, slash, remainder = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        domain, path = first, remainder
        if not DOMAIN.issuperset(domain) or domain[0] in ".-:":
            raise _invalid(text, f'"{domain}" is not a registry host')
    else:
        domain, path = "", rest
    path, colon, tag = path.partition(":")
    if colon and not (0 < len(tag) <= MAX_TAG and TAG.issuperset(tag) and tag[0] not in ".-"):
        raise _invalid(text, f'"{tag}" is not a tag')
    if path != path.lower():
        raise _invalid(text, "repository name must be lowercase")
    if not path or len(path) > MAX_PATH or not all(_component(part) for part in path.split("/")):
        raise _invalid(text, f'"{path}" is not a repository name')
    if not domain and is_id(path):
        raise _invalid(text, "64 hex digits are an image id, not a name")
    return Reference(domain, _library(domain, path), tag, digest)


def _invalid(text: str, why: str) -> RemoraError:
    return RemoraError(f'parsing the image name "{text}": invalid reference format: {why}')


def new_name(text: str) -> str:
    """The full name that `tag`, `import` and `load` give for a typed one: short ones go to `localhost/`."""
    reference = parse(text)
    if reference.digest:
        raise _invalid(text, "a new name can't have a digest")
    return str((reference if reference.domain else reference.at("localhost")).tagged())


def local_candidates(reference: Reference, alias: str, search: Iterable[str]) -> list[str]:
    """Full names to look for in the store, best first: the alias, `localhost/`, the search registries, Docker Hub."""
    if reference.domain:
        return [str(reference.tagged())]
    found: list[str] = []
    if alias:
        target = parse(alias)
        found.append(str(Reference(target.domain, target.path, reference.tag, reference.digest).tagged()))
    for domain in ("localhost", *search, "docker.io"):
        name = str(reference.at(domain).tagged())
        if name not in found:
            found.append(name)
    return found


def matches_end(name: str, wanted: Reference) -> bool:
    """Whether a full name ends with the short one, at a slash, with the same tag (`latest` if none)."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag or "@" in name:
        return False
    return tag == (wanted.tag or "latest") and repository.endswith("/" + wanted.path)


def split(name: str) -> tuple[str, str]:
    """A stored full name as (repository, tag); the tag is "" for `repository@digest`."""
    if "@" in name:
        return name.partition("@")[0], ""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "")
