"""Faults: what goes wrong with chosen calls, one kind per file, and the one-line syntax that orders them.

    ListContainers: 20*off->hang(30s)->off

reads: the first 20 calls pass; the 21st opens a window of 30 s in which every call is held to its end; then all pass.
"""

from fake_cri.faults.base import Call, Fault, Proceed, ProceedStream
from fake_cri.faults.document import DocumentError, dump_faults, load_faults, read_faults
from fake_cri.faults.locks import Locks
from fake_cri.faults.plan import ArmedPlan, FaultPlan, Term
from fake_cri.faults.registry import FAULTS
from fake_cri.faults.subjects import Lookup, Subject
from fake_cri.faults.syntax import format_fault, parse_fault
from fake_cri.faults.target import Schedule, Selector

__all__ = [
    "FAULTS",
    "ArmedPlan",
    "Call",
    "DocumentError",
    "Fault",
    "FaultPlan",
    "Locks",
    "Lookup",
    "Proceed",
    "ProceedStream",
    "Schedule",
    "Selector",
    "Subject",
    "Term",
    "dump_faults",
    "format_fault",
    "load_faults",
    "parse_fault",
    "read_faults",
]
