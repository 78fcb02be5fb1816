"""The tags of a repository, as its registry lists them (`GET /v2/NAME/tags/list`), through skopeo."""

from __future__ import annotations

from remora.frontend import process
from remora.frontend.errors import RemoraError
from remora.frontend.images import pull, skopeo
from remora.frontend.images.decode import as_map, parse, text_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.images.pull import Options
    from remora.frontend.settings import Settings


def tags(settings: Settings, given: str, options: Options) -> tuple[str, list[str]]:
    """The full name of a repository and its tags, sorted; a short name is looked for in the search registries in order.

    Raises RemoraError: malformed name, or what skopeo met in the last registry.
    """
    program = process.which("skopeo", settings.environ)
    if program is None:
        raise RemoraError(f"listing the tags of {given}: skopeo is not installed", "`apt-get install skopeo`")
    words = ["list-tags"]
    if options.tls_verify is not None:
        words.append(f"--tls-verify={str(options.tls_verify).lower()}")
    if options.cert_dir:
        words.append(f"--cert-dir={options.cert_dir}")
    failed: RemoraError | None = None
    for name in pull.sources(settings, given):
        repository = name.partition("@")[0]
        if ":" in repository.rpartition("/")[2]:
            repository = repository.rpartition(":")[0]
        with skopeo.TemporaryFolder(settings.environ) as folder:
            access = pull.login(settings, name, options, folder)
            result = process.capture([program, *words, *access, f"docker://{repository}"], env=settings.tool_environ)
        if result.status == 0:
            # In order of the alphabet, as the distribution specification wants it of registries; not all do it.
            return repository, sorted(text_list(as_map(parse(result.stdout)).get("Tags")))
        text = skopeo.message_of(result.stderr) or f"skopeo ended with status {result.status}"
        failed = skopeo.explain(text, f"listing the tags of {repository}", repository, "the registry")
    raise failed or RemoraError(f"listing the tags of {given}: no registry to ask")
