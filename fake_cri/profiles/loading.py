"""Profiles from files: the built-in ones by name, a user's by path. Errors are one sentence with file and field."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fake_cri.profiles.schema import Profile


class ProfileError(ValueError):
    """A profile that cannot be had; its text is fit for a user."""


def built_in_profiles() -> list[str]:
    """Their names, sorted."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def load_profile(name: str) -> Profile:
    """The built-in profile of that name, or the one in the file of that path. Raises ProfileError."""
    if name in built_in_profiles():
        return _parse(name, name, profile_text(name))
    path = Path(name)
    if not path.suffix and "/" not in name and not path.exists():
        raise ProfileError(f"no runtime {name!r}: choose {', '.join(built_in_profiles())}, or name a YAML file")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"cannot read the profile {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"the profile {name} is no text in UTF-8") from None
    return _parse(name, path.stem, text)


def profile_text(name: str) -> str:
    """The YAML of a built-in profile, to be copied and changed. Raises ProfileError."""
    if name not in built_in_profiles():
        raise ProfileError(f"no runtime {name!r}: choose {', '.join(built_in_profiles())}")
    return _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return resources.files("fake_cri.profiles")


def _parse(file: str, name: str, text: str) -> Profile:
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ProfileError(f"the profile {file} is no YAML{where}: {getattr(error, 'problem', error)}") from None
    if not isinstance(data, dict):
        raise ProfileError(f"the profile {file} must be a mapping of sections such as runtime, errors and events")
    try:
        return Profile.model_validate({"name": name, **data})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        more = f" ({error.error_count() - 1} more after it)" if error.error_count() > 1 else ""
        text = first["msg"].removeprefix("Value error, ")
        raise ProfileError(f"the profile {file}, field {field}: {text[0].lower()}{text[1:]}{more}") from None
