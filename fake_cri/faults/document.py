"""Faults as YAML: the same things as the one-line syntax, key by key. Errors say file, line and key.

faults:
  - rpc: ContainerStatus
    select: {pod: default/web-0, container: app}
    from: 10s
    until: 40s
    after: 20
    terms:
      - {times: 20, do: off}
      - {do: error, with: [unavailable, shim is gone], p: 0.1}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cri.durations import format_duration
from cri.methods import METHODS
from fake_cri.faults.events import EVENT
from fake_cri.faults.incident import RUNTIME
from fake_cri.faults.plan import FaultPlan, Term
from fake_cri.faults.syntax import check_target, format_fault, make_schedule, make_term
from fake_cri.faults.target import Selector

T = TypeVar("T")
_Place = tuple[int | str, ...]


class DocumentError(ValueError):
    """A document that cannot be read; its text is one sentence fit for a user."""


def _word(value: Any) -> Any:
    """`off` is a word here, not YAML 1.1's false."""
    return "off" if value is False else value


def _argument(value: Any) -> Any:
    return str(value) if type(value) in (int, float) else value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)


class SelectModel(_Model):
    """The calls about one pod or container."""

    pod: str | None = Field(default=None, min_length=1, description="NAMESPACE/NAME or NAME")
    container: str | None = Field(default=None, min_length=1)
    uid: str | None = Field(default=None, min_length=1, description="the pod's")
    id: str | None = Field(default=None, min_length=1, description="the beginning of a container's or sandbox's id")


class TermModel(_Model):
    """One action, for a number of calls."""

    do: Annotated[str, BeforeValidator(_word)] = Field(description="the action")
    with_: list[Annotated[str, BeforeValidator(_argument)]] = Field(
        default_factory=list, alias="with", description="what stands in the action's brackets, one by one"
    )
    times: int | None = Field(default=None, ge=1, description="how many calls it covers")
    p: float = Field(default=1.0, gt=0, le=1, description="the probability with which it strikes each of them")


class FaultModel(_Model):
    """What happens to the calls of one rpc."""

    rpc: str
    select: SelectModel | None = None
    from_: str | None = Field(default=None, alias="from", description="a duration since it was put into effect")
    until: str | None = None
    after: int = Field(default=0, ge=0, description="so many calls pass before")
    terms: list[TermModel] = Field(min_length=1)


class DocumentModel(_Model):
    """A file of faults."""

    faults: list[FaultModel]


class _Misplaced(ValueError):
    """What is wrong, and where within one fault."""

    def __init__(self, place: _Place, text: str) -> None:
        super().__init__(text)
        self.place = place


def plan_of(model: FaultModel) -> FaultPlan:
    """Raises ValueError, one sentence fit for a user."""
    if model.rpc not in (RUNTIME, EVENT) and model.rpc not in METHODS:
        raise _Misplaced(("rpc",), f"{model.rpc!r} is no rpc of CRI v1, nor Event or Runtime")
    schedule = _at(("from",), lambda: make_schedule(model.from_, model.until, model.after))
    selector = Selector(**model.select.model_dump()) if model.select is not None else Selector()
    terms = tuple(_term(model.rpc, number, term, len(model.terms)) for number, term in enumerate(model.terms))
    _at((), lambda: check_target(model.rpc, selector, schedule, terms))
    text = format_fault(FaultPlan(model.rpc, terms, "", selector, schedule))
    return FaultPlan(model.rpc, terms, text, selector, schedule)


def _term(rpc: str, number: int, term: TermModel, count: int) -> Term:
    given = tuple(term.with_)
    last = number + 1 == count
    return _at(
        ("terms", number),
        lambda: make_term(rpc, term.do, given, count=term.times, probability=term.p, last=last),
    )


def _at(place: _Place, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise _Misplaced(place, str(error)) from None


def model_of(plan: FaultPlan) -> FaultModel:
    """The model that `plan_of` reads as an equal plan."""
    schedule = plan.schedule
    fields: dict[str, Any] = {
        "rpc": plan.rpc,
        "terms": [
            {"do": term.fault.name, "with": list(term.fault.arguments), "times": term.count, "p": term.probability}
            for term in plan.terms
        ],
        "after": schedule.after,
    }
    if not plan.selector.everything:
        fields["select"] = plan.selector.pairs()
    if schedule.begin:
        fields["from"] = format_duration(schedule.begin)
    if schedule.end is not None:
        fields["until"] = format_duration(schedule.end)
    return FaultModel.model_validate(fields)


def dump_faults(plans: Iterable[FaultPlan]) -> str:
    """A document of these faults."""
    models = [model_of(plan).model_dump(by_alias=True, exclude_defaults=True) for plan in plans]
    return yaml.safe_dump({"faults": models}, sort_keys=False)  # in ASCII: PyYAML folds some letters away


def read_faults(path: Path) -> list[FaultPlan]:
    """The faults of a YAML file. Raises DocumentError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentError(f"cannot read the faults of {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DocumentError(f"{path} is no text in UTF-8") from None
    return load_faults(text, str(path))


def load_faults(text: str, file: str) -> list[FaultPlan]:
    """The faults of a document that stands in `file`. Raises DocumentError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise DocumentError(
            f"{file}{where}: no YAML: {getattr(error, 'problem', None) or 'it cannot be read'}"
        ) from None
    except (ValueError, RecursionError) as error:  # a date of a month 13, brackets by the thousand
        raise DocumentError(f"{file}: no YAML: {error}") from None
    try:
        document = DocumentModel.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _complaint(file, root, first["loc"], first["msg"]) from None
    plans = []
    for number, model in enumerate(document.faults):
        try:
            plans.append(plan_of(model))
        except _Misplaced as error:
            raise _complaint(file, root, ("faults", number, *error.place), str(error)) from None
    return plans


def _complaint(file: str, root: yaml.Node | None, place: _Place, text: str) -> DocumentError:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    return DocumentError(f"{file}, line {_line(root, place)}, {key or 'the document'}: {' '.join(text.split())}")


def _line(node: yaml.Node | None, place: _Place) -> int:
    """Of the last part of `place` that stands in the document."""
    line = 1 if node is None else node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
            continue
        else:
            break
        line = node.start_mark.line + 1
    return line
