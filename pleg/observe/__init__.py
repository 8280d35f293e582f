"""What a node shows of itself: metrics, the event feed, log lines, HTTP. All of it hears through `pleg.hooks`."""
