"""What arrives for monitors: an append-only log of batches, and the windows that are read from it.

``columns`` says what a batch is, ``watch`` what the log needs to know of a monitor, ``segments`` how a batch lies in
the object store, ``runs`` and ``index`` find what came before, ``log`` appends, ``windows`` reads.

An append is acknowledged when its object and its row in the ledger are durable; a crash in between leaves an object
that nothing names. A window is a pure function of what is recorded: order of arrival, batches, repeats and processes
leave no trace in it.
"""

from .columns import Labels, Predictions, digest_ids
from .log import Appended, ArrivalLog
from .watch import WatchSpec
from .windows import WindowRows

__all__ = ["Appended", "ArrivalLog", "Labels", "Predictions", "WatchSpec", "WindowRows", "digest_ids"]
