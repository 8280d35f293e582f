"""Tests of whole nodes in virtual time."""
