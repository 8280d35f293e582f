"""What calls and events take in virtual time: drawn from the profile's figures, never zero.

With zero cost relists, syncs and events would fall on one instant, which never happens on a node.
"""

from __future__ import annotations

from random import Random

from cri.clock import MICROSECOND
from fake_cri.profiles import Costs


class CostModel:
    """Draws costs in ns; the same seed draws the same ones."""

    def __init__(self, costs: Costs, rng: Random) -> None:
        self._costs = costs
        self._rng = rng

    def call(self, rpc: str, items: int) -> int:
        """One call while the runtime holds `items` objects of the kind that it lists."""
        cost = self._costs.calls.get(rpc, self._costs.default)
        least, most = self._costs.spread
        microseconds = (cost.base + cost.item * items) * self._rng.triangular(least, most, 1.0)
        return max(1, round(microseconds * MICROSECOND))

    def event(self) -> int:
        """From the moment an event is made to its arrival."""
        least, most = self._costs.event
        return max(1, round(self._rng.triangular(least, most, least) * MICROSECOND))
