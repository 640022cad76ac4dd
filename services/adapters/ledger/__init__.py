"""The one place where work in progress is remembered: operations, their chunks, leases, events and resources.

Everything else may be killed at any time. ``records`` says what goes in and out, ``ledger`` is the object that
services hold, ``operations``, ``leases`` and ``resources`` are its transactions, ``schema`` the tables.
"""

from .ledger import Ledger, open_ledger
from .records import ChunkSpec, Lease, LeaseLost, Operation

__all__ = ["ChunkSpec", "Lease", "LeaseLost", "Ledger", "Operation", "open_ledger"]
