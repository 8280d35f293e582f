"""The fake runtime: states, answers, events, faults, workload, transports, command."""
