"""Measuring: a runtime and a PLEG in processes of their own, and what came of each change."""
