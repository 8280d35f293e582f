"""What is built and installed. Slow, and kept out of `make test`."""
