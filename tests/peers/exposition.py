"""Reading /metrics, sample by sample and name by name.

prometheus_client's own parser gives every counter the suffix _total, which some of the kubelet's do not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .processes import fetch

#: A series: its name and its labels, sorted.
Series = tuple[str, tuple[tuple[str, str], ...]]

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Metrics:
    """All samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[Series, float] = {}
        for line in text.splitlines():
            if sample := _SAMPLE.match(line):
                name, labels, value = sample.groups()
                self.samples[name, tuple(sorted(_LABEL.findall(labels or "")))] = float(value)

    def __getitem__(self, name: str) -> float:
        """The one sample of this name without labels."""
        return self.samples[name, ()]

    def get(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """A sample, 0 where it has no line (a vector has none until its first value)."""
        return self.samples.get((name, tuple(sorted((labels or {}).items()))), 0.0)

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The samples of one name by one label's value, without zeros: sticky gauges keep those of long ago."""
        return {
            dict(labels)[label]: value for (sample, labels), value in self.samples.items() if sample == name and value
        }


def scrape(url: str) -> Metrics | None:
    """One scrape, None while nobody answers."""
    text = fetch(url)
    return None if text is None else Metrics(text)
