"""Tests of a node over a fake runtime by real gRPC."""
