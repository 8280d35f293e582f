"""Tests of the half that watches, against the facts of the kubelet and over a runtime that does as a test says."""
