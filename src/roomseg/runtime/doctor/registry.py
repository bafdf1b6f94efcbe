"""Can the images be pulled? Asks their registries for the manifest, as a node without credentials would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

from roomseg.cluster import Images
from roomseg.runtime.doctor.lines import Line
from roomseg.runtime.web import Refused, Silent, bearer, get_json

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
PULL_SECRET = "if it is private, nodes need credentials (imagePullSecrets of the service account)"


def images(chosen: Images) -> Iterator[Line]:
    for name in sorted({chosen.render, chosen.train}):
        yield _image(name, pinned=name not in chosen.tags())


def _image(name: str, pinned: bool) -> Line:
    host, repository, reference = split_image(name)
    try:
        _ask(host, repository, reference)
    except Refused as error:
        if error.status in (401, 403):
            return Line("WARN", "image", f"{name}: the registry wants credentials ({error})", PULL_SECRET)
        return Line("FAIL", "image", f"{name}: the registry answers {error}", "push it, or name another")
    except Silent as error:
        return Line("WARN", "image", f"{name}: no registry answers from here ({error})", "ask from inside the cluster")
    if pinned:
        return Line("OK", "image", f"{name} is there")
    return Line("WARN", "image", f"{name} is there, by a tag, whose content may change", "name it by @sha256:...")


def split_image(name: str) -> tuple[str, str, str]:
    """URL of the registry, repository and tag or digest."""
    path, at, digest = name.partition("@")
    first, slash, rest = path.partition("/")
    if not (slash and re.search(r"[.:]|^localhost$", first)):
        first, rest = "registry-1.docker.io", path if slash else f"library/{path}"
    repository, _, tag = rest.partition(":")
    scheme = "http" if re.match(r"^(localhost|127\.)", first) else "https"
    return f"{scheme}://{first}", repository, digest if at else tag or "latest"


def _ask(host: str, repository: str, reference: str) -> None:
    url, accepted = f"{host}/v2/{repository}/manifests/{reference}", {"Accept": ", ".join(MANIFESTS)}
    try:
        get_json(url, accepted, "HEAD")
    except Refused as error:
        challenge = error.headers.get("Www-Authenticate") or error.headers.get("WWW-Authenticate") or ""
        if error.status != 401 or not challenge.startswith("Bearer "):
            raise
        get_json(url, {**accepted, **bearer(_anonymous_token(challenge))}, "HEAD")


def _anonymous_token(challenge: str) -> str:
    """The token that a registry gives to everybody."""
    parts = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urlencode({name: parts[name] for name in ("service", "scope") if name in parts})
    answer = get_json(f"{parts.get('realm', '')}?{query}", {}) if parts.get("realm", "").startswith("http") else {}
    return str(answer.get("token") or answer.get("access_token") or "")
