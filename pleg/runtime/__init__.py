"""The runtime as a kubelet sees it: the way to it, what changed in it, and the calls a PLEG makes."""
