"""The one place where work in progress is remembered: operations, chunks, leases, events, resources and monitors.

Everything else may be killed at any time. ``records`` says what goes in and out, ``ledger`` is the object that
services hold, ``operations``, ``leases``, ``resources``, ``segments`` and ``monitoring`` are its transactions,
``schema`` the tables.
"""

from .ledger import Ledger, open_ledger, utc_now
from .records import ChunkSpec, Lease, LeaseLost, Operation, Segment

__all__ = ["ChunkSpec", "Lease", "LeaseLost", "Ledger", "Operation", "Segment", "open_ledger", "utc_now"]
