"""Promises that must hold from outside: the wire, the public names, the tree itself."""
