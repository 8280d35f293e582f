"""What both halves share: the CRI v1 contract, the transport's interface, time, and Go's duration text."""

__version__ = "0.1.0"
