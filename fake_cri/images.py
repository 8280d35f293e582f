"""The catalogue of images: names, digests, pulls and removals. Nothing is fetched: any well-formed name can be pulled.

What an image is follows from its name alone: the path without the registry, and the tag. So two registries' copies
of `team/app:1` are one image with two names, and the same name gives the same digests in every run.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.profiles import Images

_DEFAULT_DOMAIN: Final = "docker.io"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN: Final = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
)
_ID: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised image name: `repository` has its registry, `path` has not; a tag or a digest is always there."""

    repository: str
    path: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class ImageNames:
    """What a container remembers of its image; tag and digest are empty where there is none."""

    id: str
    tag: str
    digest: str


@dataclass(slots=True)
class Image:
    """One image under all of its names, in the order in which they came."""

    hex_id: str
    manifest: str
    size: int
    repo_tags: list[str] = field(default_factory=list)
    repo_digests: list[str] = field(default_factory=list)


def parse_reference(text: str) -> Reference:
    """Normalises as Docker's grammar does: default registry, `library/`, tag latest. Raises ValueError."""
    match = _REFERENCE.fullmatch(text)
    if match is None or len(text) > 512:
        raise ValueError("invalid reference format")
    domain, path, tag, digest = match["domain"], match["path"], match["tag"] or "", match["digest"] or ""
    if domain is not None and not ("." in domain or ":" in domain or domain == "localhost"):
        if domain != domain.lower():
            raise ValueError("invalid reference format: repository name must be lowercase")
        path, domain = f"{domain}/{path}", None
    if domain is None:
        domain = _DEFAULT_DOMAIN
        if "/" not in path:
            path = f"library/{path}"
    return Reference(f"{domain}/{path}", path, tag or ("" if digest else "latest"), digest)


class Catalogue:
    """The images that are present."""

    def __init__(self, rules: Images) -> None:
        self._rules = rules
        self._images: dict[str, Image] = {}

    def __len__(self) -> int:
        return len(self._images)

    def image_id(self, image: Image) -> str:
        """As this runtime writes it: with or without `sha256:`."""
        return self._rules.id_prefix + image.hex_id

    def names(self, image: Image) -> ImageNames:
        return ImageNames(
            self.image_id(image),
            image.repo_tags[0] if image.repo_tags else "",
            image.repo_digests[0] if image.repo_digests else "",
        )

    def find(self, text: str) -> Image | None:
        """By id, unique prefix of an id, tag or digest; None for what is absent or no name at all."""
        whole = _ID.fullmatch(text)
        if whole is not None:
            return self._images.get(whole[1])
        name = _name(text)
        for image in self._images.values():
            if name in image.repo_tags or name in image.repo_digests:
                return image
        prefix = text.removeprefix("sha256:")
        if len(prefix) >= 3 and re.fullmatch(r"[0-9a-f]+", prefix):
            fits = [image for hex_id, image in self._images.items() if hex_id.startswith(prefix)]
            if len(fits) == 1:
                return fits[0]
        return None

    def check(self, text: str) -> None:
        """Raises CriError(INVALID_ARGUMENT) for what cannot be pulled."""
        whole = _ID.fullmatch(text)
        if whole is not None and whole[1] in self._images:
            return
        try:
            parse_reference(text)
        except ValueError as error:
            problem = f'failed to parse image reference "{text}": {error}'
            raise CriError(Code.INVALID_ARGUMENT, problem) from None

    def pull(self, text: str) -> Image:
        """Adds the image of that name, or that name to the image. Raises CriError for a malformed name."""
        whole = _ID.fullmatch(text)
        if whole is not None and whole[1] in self._images:
            return self._images[whole[1]]
        self.check(text)
        reference = parse_reference(text)
        manifest = reference.digest or _digest(f"manifest {reference.path}:{reference.tag}")
        hex_id = _digest(f"config {manifest}").removeprefix("sha256:")
        image = self._images.get(hex_id)
        if image is None:
            image = Image(hex_id, manifest, size=1_000_000 + int(hex_id[:8], 16) % 200_000_000)
            self._images[hex_id] = image
        digest = f"{reference.repository}@{manifest}"
        if digest not in image.repo_digests:
            image.repo_digests.append(digest)
        if not reference.digest and str(reference) not in image.repo_tags:
            image.repo_tags.append(str(reference))
        return image

    def remove(self, text: str, *, in_use: bool) -> None:
        """Nothing for what is absent. Raises CriError where the runtime refuses to remove an image in use."""
        image = self.find(text)
        if image is None:
            return
        if self._rules.remove_by_name == "name" and len(image.repo_tags) > 1:
            name = _name(text)
            if name in image.repo_tags:
                image.repo_tags.remove(name)
                return
        if in_use and self._rules.refuses_removal_in_use:
            raise CriError(Code.UNKNOWN, f"image is in use by a container: {self.image_id(image)}")
        del self._images[image.hex_id]

    def list(self, wanted: str) -> list[Image]:
        """All, or the one named where this runtime heeds the filter."""
        if not wanted or self._rules.filter == "ignored":
            return list(self._images.values())
        image = self.find(wanted)
        return [image] if image is not None else []

    def message(self, image: Image) -> pb.Image:
        """As lists and statuses show it."""
        return pb.Image(
            id=self.image_id(image),
            repo_tags=image.repo_tags,
            repo_digests=image.repo_digests,
            size=image.size,
            spec=pb.ImageSpec(image=self.image_id(image)),
        )

    def used_bytes(self) -> int:
        """What all images take together."""
        return sum(image.size for image in self._images.values())


def _name(text: str) -> str:
    """Normalised; empty for what is no name."""
    try:
        return str(parse_reference(text))
    except ValueError:
        return ""


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
