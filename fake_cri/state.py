"""The state machines of sandboxes and containers: legal transitions, ids, natural keys, times, exit codes, reasons.

Nothing here waits or does I/O. Every transition is reported to one observer while it happens; what a client did wrong
is a CriError with the code that the profile gives.

    sandbox     READY -> NOTREADY -> gone
    container   CREATED -> RUNNING -> EXITED -> gone; a restart is a new container
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from random import Random
from typing import Final

from cri.clock import Clock
from cri.transport import Code, CriError
from cri.v1 import api_pb2 as pb
from fake_cri.entries import Entries
from fake_cri.identifiers import IdIndex, new_id
from fake_cri.images import ImageNames
from fake_cri.journal import Change
from fake_cri.messages import Messages
from fake_cri.objects import (
    MISSING_COMMAND,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    START_ERROR,
    Container,
    ContainerKey,
    Sandbox,
    SandboxKey,
    container_key,
    state_name,
)
from fake_cri.profiles import Profile

SIGKILL_EXIT: Final = 137
START_ERROR_EXIT: Final = 128
UNKNOWN_EXIT: Final = 255


class Moment(enum.Enum):
    """Why an object changed; the profile's events section has a field of each name."""

    SANDBOX_RUN = "sandbox_run"
    SANDBOX_STOPPED = "sandbox_stopped"
    SANDBOX_REMOVED = "sandbox_removed"
    CONTAINER_CREATED = "container_created"
    CONTAINER_STARTED = "container_started"
    CONTAINER_STOPPED = "container_stopped"
    CONTAINER_REMOVED = "container_removed"
    CONTAINER_REMOVED_WITH_SANDBOX = "container_removed_with_sandbox"
    START_FAILED = "start_failed"


Observer = Callable[[Moment, "Sandbox | Container", Change], None]


class State:
    """All sandboxes and containers of one runtime."""

    def __init__(
        self,
        profile: Profile,
        clock: Clock,
        *,
        ids: Random,
        order: Random,
        observer: Observer,
        entry_bytes: int = 0,
    ) -> None:
        self._profile = profile
        self._clock = clock
        self._ids = ids
        self._observer = observer
        self.messages = Messages(profile, entry_bytes)
        twins = profile.lists.map_order == "random"
        self.sandboxes: IdIndex[Sandbox] = IdIndex()
        self.containers: IdIndex[Container] = IdIndex()
        self.sandbox_entries = Entries(profile.lists.order, order, twins=twins)
        self.container_entries = Entries(profile.lists.order, order, twins=twins)
        self._sandbox_keys: dict[SandboxKey, Sandbox] = {}
        self._container_keys: dict[ContainerKey, Container] = {}
        self._labelled: dict[str, dict[str, Container]] = {}
        self._addresses = 0
        self._pids = 1000

    # --- finding ---------------------------------------------------------------------------------------------------

    def find_sandbox(self, reference: str, *, unknown: Code) -> Sandbox | None:
        """By id or unique prefix. None where `unknown` is OK and there is none, else CriError."""
        errors = self._profile.errors
        empty, ambiguous = errors.empty_sandbox_id, errors.ambiguous_sandbox_id
        return self.sandboxes.resolve("sandbox", reference, empty=empty, ambiguous=ambiguous, unknown=unknown)

    def find_container(self, reference: str, *, unknown: Code) -> Container | None:
        """By id or unique prefix. None where `unknown` is OK and there is none, else CriError."""
        errors = self._profile.errors
        empty, ambiguous = errors.empty_container_id, errors.ambiguous_container_id
        return self.containers.resolve("container", reference, empty=empty, ambiguous=ambiguous, unknown=unknown)

    def containers_labelled(self, uid: str) -> list[Container]:
        """Those whose label io.kubernetes.pod.uid is `uid`, in the order of creation."""
        return list(self._labelled.get(uid, {}).values()) if uid else []

    # --- sandboxes -------------------------------------------------------------------------------------------------

    def run_sandbox(self, config: pb.PodSandboxConfig, runtime_handler: str, *, own: bool = False) -> Sandbox:
        """A new READY sandbox, or the one that has its key where the profile says so."""
        metadata = config.metadata
        if runtime_handler not in self._profile.runtime.handlers:
            looking = f'unable to get OCI runtime for sandbox "{metadata.name}"'
            text = f'{looking}: no runtime for "{runtime_handler}" is configured'
            raise CriError(self._profile.errors.unknown_handler, text)
        key = (metadata.name, metadata.namespace, metadata.uid, metadata.attempt)
        live = self._sandbox_keys.get(key)
        if live is not None:
            if self._profile.lifecycle.duplicate == "existing":
                return live
            name = "_".join(str(part) for part in key)
            text = f'failed to reserve sandbox name "{name}": name "{name}" is reserved for "{live.id}"'
            raise CriError(self._profile.errors.duplicate, text)
        kept = pb.PodSandboxConfig()
        kept.CopyFrom(config)
        if self._profile.lifecycle.adds_pod_labels:
            pod = {POD_NAME: metadata.name, POD_NAMESPACE: metadata.namespace, POD_UID: metadata.uid}
            for label, value in pod.items():
                if label not in kept.labels:
                    kept.labels[label] = value
        host_network = kept.linux.security_context.namespace_options.network == pb.NODE
        sandbox = Sandbox(
            id=new_id(self._ids),
            config=kept,
            runtime_handler=runtime_handler,
            created_at=self._clock.now(),
            ip="" if host_network else self._next_address(),
            pid=self._next_pid(),
            own=own,
        )
        self.sandboxes.add(sandbox.id, sandbox)
        self._sandbox_keys[key] = sandbox
        self.sandbox_entries.put(sandbox.id, *self.messages.sandbox_entry(sandbox))
        self._report(Moment.SANDBOX_RUN, sandbox, at=sandbox.created_at, old=None, new=state_name(sandbox))
        return sandbox

    def stop_sandbox(self, sandbox: Sandbox) -> None:
        """NOTREADY, and every container that still runs ends by SIGKILL; nothing when it is so already."""
        for container in list(sandbox.containers.values()):
            if container.running or self._stop_ends_created(container):
                self.end_container(container, SIGKILL_EXIT)
        if sandbox.ready:
            old = state_name(sandbox)
            sandbox.state = pb.SANDBOX_NOTREADY
            self.sandbox_entries.put(sandbox.id, *self.messages.sandbox_entry(sandbox))
            self._report(Moment.SANDBOX_STOPPED, sandbox, at=self._clock.now(), old=old, new=state_name(sandbox))

    def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Stopped first, then its containers go, then itself; its key becomes free."""
        self.stop_sandbox(sandbox)
        for container in list(sandbox.containers.values()):
            self._drop(container, Moment.CONTAINER_REMOVED_WITH_SANDBOX)
        if sandbox.id not in self.sandboxes:
            return
        self.sandboxes.remove(sandbox.id)
        del self._sandbox_keys[sandbox.key]
        self.sandbox_entries.drop(sandbox.id)
        self._report(Moment.SANDBOX_REMOVED, sandbox, at=self._clock.now(), old=state_name(sandbox), new=None)

    # --- containers ------------------------------------------------------------------------------------------------

    def create_container(self, sandbox: Sandbox, config: pb.ContainerConfig, image: ImageNames) -> Container:
        """A new CREATED container in a READY sandbox, or the one that has its key where the profile says so."""
        metadata = config.metadata
        if not sandbox.ready:
            text = f'sandbox container "{sandbox.id}" is not running'
            raise CriError(self._profile.errors.stopped_sandbox, text)
        key = container_key(metadata.name, metadata.attempt, sandbox)
        live = self._container_keys.get(key)
        if live is not None:
            if self._profile.lifecycle.duplicate == "existing":
                return live
            name = "_".join(str(part) for part in (key[0], *key[2:], key[1]))
            text = f'failed to reserve container name "{name}": name "{name}" is reserved for "{live.id}"'
            raise CriError(self._profile.errors.duplicate, text)
        kept = pb.ContainerConfig()
        kept.CopyFrom(config)
        container = Container(
            id=new_id(self._ids),
            sandbox=sandbox,
            config=kept,
            image_id=image.id,
            image_tag=image.tag,
            image_digest=image.digest,
            created_at=self._clock.now(),
            resources=kept.linux.resources,
        )
        missing = container.annotation(MISSING_COMMAND)
        if missing is not None and self._profile.lifecycle.missing_command == "fails-create":
            text = f'container create failed: executable file "{missing}" not found in $PATH: No such file or directory'
            raise CriError(self._profile.errors.failed_start, text)
        self.containers.add(container.id, container)
        self._container_keys[key] = container
        sandbox.containers[container.id] = container
        self._labelled.setdefault(kept.labels.get(POD_UID, ""), {})[container.id] = container
        self.container_entries.put(container.id, *self.messages.container_entry(container))
        self._report(Moment.CONTAINER_CREATED, container, at=container.created_at, old=None, new=state_name(container))
        return container

    def start_container(self, container: Container) -> None:
        """CREATED -> RUNNING. A start that fails leaves it EXITED, or removes it, as the profile says."""
        errors = self._profile.errors
        if container.state != pb.CONTAINER_CREATED:
            state = state_name(container)
            text = f'failed to set starting state for container "{container.id}": container is in {state} state'
            raise CriError(errors.wrong_state, text)
        problem = container.annotation(START_ERROR)
        missing = container.annotation(MISSING_COMMAND)
        if not container.sandbox.ready:
            problem = f'sandbox container "{container.sandbox.id}" is not running'
        elif problem is None and missing is not None:
            problem = (
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
                f'runc create failed: unable to start container process: exec: "{missing}": '
                "executable file not found in $PATH"
            )
        if problem is not None:
            self._fail_start(container, problem)
            raise CriError(errors.failed_start, f'failed to start container "{container.id}": {problem}')
        old = state_name(container)
        container.started_at = self._clock.now()
        container.pid = self._next_pid()
        self._renew(container)
        self._report(Moment.CONTAINER_STARTED, container, at=container.started_at, old=old, new=state_name(container))

    def _fail_start(self, container: Container, problem: str) -> None:
        if self._profile.lifecycle.failed_start == "deleted":
            self._drop(container, Moment.START_FAILED)
            return
        old = state_name(container)
        container.finished_at = self._clock.now()
        container.exit_code = START_ERROR_EXIT
        container.reason = "StartError"
        container.message = problem
        self._renew(container)
        self._report(Moment.START_FAILED, container, at=container.finished_at, old=old, new=state_name(container))

    def end_container(self, container: Container, exit_code: int, *, oom_killed: bool = False) -> None:
        """-> EXITED, with the reason that follows from `exit_code`; nothing when it has ended already."""
        if container.finished_at:
            return
        old = state_name(container)
        container.finished_at, container.ended = self._clock.now(), self._clock.monotonic()
        container.exit_code = exit_code
        container.reason = "OOMKilled" if oom_killed else "Completed" if exit_code == 0 else "Error"
        self._renew(container)
        self._report(Moment.CONTAINER_STOPPED, container, at=container.finished_at, old=old, new=state_name(container))

    def remove_container(self, container: Container) -> None:
        """Killed first when it runs, then gone; its key becomes free. Nothing when it is gone already."""
        if container.id not in self.containers:
            return
        if container.running or self._stop_ends_created(container):
            self.end_container(container, SIGKILL_EXIT)
        self._drop(container, Moment.CONTAINER_REMOVED)

    def update_resources(self, container: Container, resources: pb.LinuxContainerResources) -> None:
        """Records them, for statuses to show."""
        if container.finished_at and self._profile.lifecycle.update_of_exited == "refused":
            text = f"container {container.id} is not running or created state: {state_name(container)}"
            raise CriError(self._profile.errors.wrong_state, text)
        container.resources.MergeFrom(resources)

    def stop_created(self, container: Container) -> None:
        """A stop that meets a container never started: it ends where this runtime has its init wait, else nothing."""
        if self._stop_ends_created(container):
            self.end_container(container, SIGKILL_EXIT)

    def forget_exits(self, since: int) -> None:
        """Containers that ended at or after the monotonic ns `since` read EXITED, 255, Unknown: nobody saw how."""
        for container in self.containers:
            if container.finished_at and container.ended >= since:
                container.finished_at = self._clock.now()
                container.exit_code, container.reason, container.message = UNKNOWN_EXIT, "Unknown", ""
                self._renew(container)

    # --- within ----------------------------------------------------------------------------------------------------

    def _stop_ends_created(self, container: Container) -> bool:
        created = container.state == pb.CONTAINER_CREATED
        return created and self._profile.lifecycle.stop_of_created == "exits"

    def _drop(self, container: Container, moment: Moment) -> None:
        old = state_name(container)
        self.containers.remove(container.id)
        del self._container_keys[container.key]
        del container.sandbox.containers[container.id]
        uid = container.config.labels.get(POD_UID, "")
        del self._labelled[uid][container.id]
        if not self._labelled[uid]:
            del self._labelled[uid]
        self.container_entries.drop(container.id)
        self._report(moment, container, at=self._clock.now(), old=old, new=None)

    def _renew(self, container: Container) -> None:
        self.container_entries.put(container.id, *self.messages.container_entry(container))

    def _report(
        self, moment: Moment, subject: Sandbox | Container, *, at: int, old: str | None, new: str | None
    ) -> None:
        """`at` is the time that the object shows for this change: the clock is read once, so that all agree."""
        sandbox = subject if isinstance(subject, Sandbox) else subject.sandbox
        change = Change(
            time_ns=at,
            uid=sandbox.uid,
            pod=sandbox.name,
            id=subject.id,
            kind="sandbox" if subject is sandbox else "container",
            old=old,
            new=new,
        )
        self._observer(moment, subject, change)

    def _next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def _next_address(self) -> str:
        self._addresses += 1
        number = self._addresses % 0xFFFF00
        return f"10.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}.{number & 0xFF}"
