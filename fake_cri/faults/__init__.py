"""Faults: what goes wrong with chosen calls, one kind per file, and the one-line syntax that orders them.

    ListContainers: 20*off->hang(30s)->off

reads: the first 20 calls pass; the 21st opens a window of 30 s in which every call is held to its end; then all pass.
"""

from fake_cri.faults.base import Call, Fault, Proceed, ProceedStream
from fake_cri.faults.plan import ArmedPlan, FaultPlan, Term
from fake_cri.faults.registry import FAULTS
from fake_cri.faults.syntax import parse_fault

__all__ = [
    "FAULTS",
    "ArmedPlan",
    "Call",
    "Fault",
    "FaultPlan",
    "Proceed",
    "ProceedStream",
    "Term",
    "parse_fault",
]
