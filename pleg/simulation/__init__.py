"""A node and its runtime in virtual time: the same code as over gRPC, and the same log for the same seed."""
