"""Tests of how runs are measured and judged."""
