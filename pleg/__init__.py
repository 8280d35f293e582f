"""The part of a kubelet that watches its container runtime: relists, event streams, the pod cache and its readers."""
