"""What pleg knows of a runtime: the transport, what changed, and the calls."""
