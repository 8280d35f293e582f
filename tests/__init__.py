"""By concept, not by file; `peers` are tests against real programs."""
