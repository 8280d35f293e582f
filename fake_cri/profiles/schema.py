"""What a profile file may say. Every field stands in the file: a copied profile shows all there is to change."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from cri.methods import METHODS
from cri.transport import Code


def _code(value: Any) -> Any:
    if isinstance(value, str) and value in Code.__members__:
        return Code[value]
    raise ValueError(f"must be a gRPC code by name, such as {Code.NOT_FOUND.name}, {Code.UNKNOWN.name} or OK")


GrpcCode = Annotated[Code, BeforeValidator(_code)]
Moment = tuple[Literal["CREATED", "STARTED", "STOPPED", "DELETED"], ...]
Microseconds = Annotated[int, Field(gt=0, le=600_000_000)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Runtime(_Section):
    """What Version and Status say."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    handlers: tuple[str, ...]
    cgroup_driver: Literal["CGROUPFS", "SYSTEMD"]


class Errors(_Section):
    """The code of each case in which runtimes differ; OK means that the call does nothing and succeeds."""

    empty_sandbox_id: GrpcCode
    empty_container_id: GrpcCode
    ambiguous_sandbox_id: GrpcCode
    ambiguous_container_id: GrpcCode
    unknown_id_status: GrpcCode
    unknown_id_start: GrpcCode
    unknown_id_stop: GrpcCode
    unknown_id_remove: GrpcCode
    unknown_id_other: GrpcCode
    missing_image: GrpcCode
    unknown_handler: GrpcCode
    wrong_state: GrpcCode
    failed_start: GrpcCode
    duplicate: GrpcCode
    stopped_sandbox: GrpcCode


class Lifecycle(_Section):
    """What becomes of objects where runtimes disagree."""

    duplicate: Literal["refused", "existing"]
    failed_start: Literal["kept", "deleted"]
    missing_command: Literal["fails-start", "fails-create"]
    stop_of_created: Literal["ignored", "exits"]
    stop_of_sandbox: Literal["kills", "signals"]
    update_of_exited: Literal["accepted", "refused"]
    adds_pod_labels: bool
    keeps_ip_after_stop: bool


class Lists(_Section):
    """Order and chunks of list answers."""

    order: Literal["random", "newest-first", "creation"]
    map_order: Literal["random", "fixed"]
    stream_chunk: int = Field(gt=0)


class Status(_Section):
    """What statuses carry: beside a sandbox's, and which fields of newer contracts this runtime does not know."""

    containers_statuses: bool
    timestamp: bool
    omits: tuple[
        Literal["image_id", "user", "stop_signal", "user_specified_image", "runtime_handlers", "features"], ...
    ]


class Images(_Section):
    """Names and filesystems of images; the time a pull takes is real, so that a deadline can be missed."""

    id_prefix: Literal["sha256:", ""]
    remove_by_name: Literal["image", "name"]
    refuses_removal_in_use: bool
    filter: Literal["ignored", "one-image"]
    container_filesystem: bool
    pull_milliseconds: tuple[int, int]

    @field_validator("pull_milliseconds")
    @classmethod
    def _range(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("must be [least, most], both above 0")
        return value


class Events(_Section):
    """GetContainerEvents: whether there is a stream, and which events each moment sends, in order."""

    stream: Literal["open", "unimplemented", "ends-at-once"]
    sandbox_run: Moment
    container_created: Moment
    container_started: Moment
    container_stopped: Moment
    start_failed: Moment
    container_removed: Moment
    container_removed_with_sandbox: Moment
    sandbox_stopped: Moment
    sandbox_removed: Moment
    removed_sandbox_status: Literal["whole", "without-time", "none"]
    containers_by: Literal["sandbox", "pod-uid-label"]
    containers_order: Literal["random", "newest-first"]
    subscribers: Literal["all", "split"]
    queue: int | None = Field(gt=0)


class Cost(_Section):
    """Microseconds of one call: base, and more for each object that the runtime holds of the listed kind."""

    base: Microseconds
    item: float = Field(default=0.0, ge=0.0)


class Costs(_Section):
    """What calls and events take in virtual time. Each is drawn: triangular between least and most times its figure."""

    spread: tuple[float, float]
    default: Cost
    calls: dict[str, Cost]
    event: tuple[Microseconds, Microseconds]

    @field_validator("calls")
    @classmethod
    def _rpcs(cls, value: dict[str, Cost]) -> dict[str, Cost]:
        for rpc in value:
            _known_rpc(rpc)
        return value

    @model_validator(mode="after")
    def _ranges(self) -> Costs:
        if not 0.0 < self.spread[0] <= 1.0 <= self.spread[1]:
            raise ValueError("spread must be [least, most] with 0 < least <= 1 <= most")
        if self.event[0] > self.event[1]:
            raise ValueError("event must be [least, most] in microseconds")
        return self


class Profile(_Section):
    """One runtime's ways. `name` is the file's."""

    name: str
    runtime: Runtime
    errors: Errors
    lifecycle: Lifecycle
    lists: Lists
    status: Status
    images: Images
    events: Events
    unimplemented: tuple[str, ...]
    costs: Costs

    @field_validator("unimplemented")
    @classmethod
    def _rpcs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for rpc in value:
            _known_rpc(rpc)
        return value


def _known_rpc(rpc: str) -> None:
    if rpc not in METHODS:
        raise ValueError(f"{rpc!r} is no rpc of CRI v1")
