"""Which pod IPs a new status keeps: those of a pod that ended are remembered (`getPodIPs`, pleg/generic.go)."""

from __future__ import annotations

from dataclasses import replace

from pleg.cache import PodCache
from pleg.pods import PodStatus, SandboxState


def with_kept_ips(cache: PodCache, status: PodStatus) -> PodStatus:
    """The status with its own IPs, or with the cached ones where it has none and no sandbox is READY.

    A cached error loses them: one failed inspection between running and exited, and the IPs are gone.
    """
    if status.ips:
        return status
    old, error = cache.get(status.uid)
    if error is not None or old is None or not old.ips:
        return status
    if any(sandbox.state is SandboxState.READY for sandbox in status.sandboxes):
        return status
    return replace(status, ips=old.ips)
