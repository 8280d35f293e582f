"""What both halves share: time, durations, transport, methods."""
