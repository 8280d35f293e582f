"""The text that Prometheus scrapes, letter for letter as a kubelet writes it.

prometheus_client renames counters (`_total`), adds `_created` samples, leaves the help of empty vectors standing and
prints numbers in its own way. All of that is mended here and nowhere else. Follows github.com/prometheus/common
expfmt/text_create.go, and Go's strconv for numbers.
"""

from __future__ import annotations

import functools
import math
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import CollectorRegistry
from prometheus_client.samples import Sample

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Counters that the kubelet names without `_total`.
WITHOUT_TOTAL: Final = frozenset(
    {
        "kubelet_pleg_discard_events",
        "kubelet_evented_pleg_connection_error_count",
        "kubelet_evented_pleg_connection_success_count",
    }
)


def render(registry: CollectorRegistry) -> bytes:
    """All families that have samples, by name. Costs milliseconds: not for the PLEG's own thread."""
    lines: list[str] = []
    for family in sorted((family for family in registry.collect() if family.samples), key=_name):
        name = _name(family)
        lines.append(f"# HELP {name} {_escape(family.documentation)}\n")
        lines.append(f"# TYPE {name} {family.type if family.type != 'unknown' else 'untyped'}\n")
        # Children by their labels' values, as Go has them; the sort is stable, so a child's samples stay together.
        for sample in sorted(family.samples, key=_child):
            if sample.name.endswith("_created") and family.type in ("counter", "histogram", "summary"):
                continue
            own = name if family.type == "counter" else sample.name
            line = f"{own}{_labels(sample.labels)} {go_float(sample.value)}\n"
            # prometheus_client says count before sum, Go sum before count.
            lines.insert(len(lines) - (family.type == "histogram" and sample.name.endswith("_sum")), line)
    return "".join(lines).encode()


def go_float(value: float) -> str:
    """A number as Go's strconv.FormatFloat(value, 'g', -1, 64) prints it: ``0``, ``1.5``, ``1e+06``, ``+Inf``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if -1e6 < value < 1e6 and value == int(value):
        return str(int(value))
    text = repr(float(value))
    # Both print the shortest digits that read back as the same number, but Go takes to exponents from 1e+06 on and
    # Python from 1e+16; below 1e-04 they agree.
    if "e" in text or -1e6 < value < 1e6:
        return text
    sign, text = ("-", text[1:]) if value < 0 else ("", text)
    whole, _, part = text.partition(".")
    digits = (whole + part).rstrip("0")
    return f"{sign}{digits[0]}{'.' if len(digits) > 1 else ''}{digits[1:]}e+{len(whole) - 1:02d}"


def _name(family: Metric) -> str:
    if family.type != "counter" or family.name in WITHOUT_TOTAL:
        return family.name
    return f"{family.name}_total"


def _child(sample: Sample) -> list[str]:
    return [sample.labels[key] for key in sorted(sample.labels) if key != "le"]


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    pairs = [f'{key}="{_escape_value(labels[key])}"' for key in sorted(labels) if key != "le"]
    if "le" in labels:
        pairs.append(f'le="{_bound(labels["le"])}"')
    return "{" + ",".join(pairs) + "}"


@functools.cache
def _bound(text: str) -> str:
    return go_float(float(text))


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_value(text: str) -> str:
    return _escape(text).replace('"', r"\"")
