"""Whom a call is about: the pod and the container behind the ids that its request carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from cri.methods import Method
from cri.v1 import api_pb2 as pb

_POD_UID = "io.kubernetes.pod.uid"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of it; an empty text where nothing is. `ids` are the container's and its sandbox's."""

    namespace: str = ""
    pod: str = ""
    uid: str = ""
    container: str = ""
    ids: tuple[str, ...] = ()


class Lookup(Protocol):
    """Finds objects by what requests say of them; None for those that do not exist."""

    def container(self, reference: str) -> Subject | None:
        """By id or unique prefix."""
        ...

    def sandbox(self, reference: str) -> Subject | None:
        """By id or unique prefix."""
        ...

    def pod(self, uid: str) -> Subject | None:
        """By the pod's uid."""
        ...


def subject_of(method: Method, request: bytes, lookup: Lookup) -> Subject:
    """The one container or pod that the call names; an empty subject where it names none, as a whole list does."""
    try:
        message: Any = method.request.FromString(request)
    except DecodeError:
        return Subject()
    if isinstance(message, pb.RunPodSandboxRequest):
        made = message.config.metadata
        return Subject(made.namespace, made.name, made.uid)
    if isinstance(message, pb.CreateContainerRequest):
        sandbox = _sandbox(message.pod_sandbox_id, lookup)
        name = message.config.metadata.name
        return Subject(sandbox.namespace, sandbox.pod, sandbox.uid, name, sandbox.ids)
    fields = message.DESCRIPTOR.fields_by_name
    if "filter" in fields:
        return _listed(message.filter, lookup, containers="Container" in method.name)
    if "container_id" in fields:
        return _container(message.container_id, lookup)
    return _sandbox(message.pod_sandbox_id, lookup) if "pod_sandbox_id" in fields else Subject()


def _listed(given: Any, lookup: Lookup, *, containers: bool) -> Subject:
    fields = given.DESCRIPTOR.fields_by_name
    if "id" in fields and given.id:
        return _container(given.id, lookup) if containers else _sandbox(given.id, lookup)
    if "pod_sandbox_id" in fields and given.pod_sandbox_id:
        return _sandbox(given.pod_sandbox_id, lookup)
    uid = given.label_selector.get(_POD_UID, "") if "label_selector" in fields else ""
    return lookup.pod(uid) or Subject(uid=uid) if uid else Subject()


def _container(reference: str, lookup: Lookup) -> Subject:
    return lookup.container(reference) or Subject(ids=(reference,))


def _sandbox(reference: str, lookup: Lookup) -> Subject:
    return lookup.sandbox(reference) or Subject(ids=(reference,))
