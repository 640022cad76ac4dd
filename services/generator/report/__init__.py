"""What a person sees of a counterfactual: difference map, filmstrip, trace of what was measured, and a page of it all.

Pure functions: arrays and numbers in, bytes or text out; the same input gives the same bytes. ``record`` is always
what ``services.adapters.encoder.record`` describes; every picture and Parquet table carries it.
"""

from .difference import difference_map
from .effects import Effect, Excess, Unguided, effects, excesses
from .filmstrip import filmstrip, filmstrip_frames
from .page import Findings, counterfactual_page
from .trace import Trace, trace_csv, trace_parquet, trace_table
from .trace_figure import trace_svg

__all__ = [
    "Effect",
    "Excess",
    "Findings",
    "Trace",
    "Unguided",
    "counterfactual_page",
    "difference_map",
    "effects",
    "excesses",
    "filmstrip",
    "filmstrip_frames",
    "trace_csv",
    "trace_parquet",
    "trace_svg",
    "trace_table",
]
