"""A container runtime without containers: CRI v1 over real state machines, with faults on demand."""
