"""Evenhand: serve medical-image models, make synthetic images, and audit models for subgroup fairness."""

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

# The generated stubs (evenhand.audit.v1, ...) are a distribution of their own that shares this package's name.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "AuditReport",
    "AuditSpec",
    "Client",
    "EvenhandError",
    "FineTuning",
    "GeneratedImage",
    "MonitorSpec",
    "Pipeline",
    "Retry",
    "classify",
    "degrade",
    "reconstruct",
    "segment",
]

if TYPE_CHECKING:
    from evenhand.calls import Retry
    from evenhand.client import AsyncClient, Client
    from evenhand.errors import EvenhandError
    from evenhand.monitor_spec import MonitorSpec
    from evenhand.pictures import GeneratedImage
    from evenhand.reports import AuditReport
    from evenhand.spec import AuditSpec, Pipeline, classify, degrade, reconstruct, segment
    from evenhand.tuning import FineTuning

_HOMES = {
    "AsyncClient": "client",
    "AuditReport": "reports",
    "AuditSpec": "spec",
    "Client": "client",
    "EvenhandError": "errors",
    "FineTuning": "tuning",
    "GeneratedImage": "pictures",
    "MonitorSpec": "monitor_spec",
    "Pipeline": "spec",
    "Retry": "calls",
    "classify": "spec",
    "degrade": "spec",
    "reconstruct": "spec",
    "segment": "spec",
}


def __getattr__(name: str) -> Any:
    """Names are found on first use: the services import this package for its stubs and need neither pandas nor rich."""
    if name in _HOMES:
        return getattr(import_module(f"evenhand.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'evenhand' has no attribute {name!r}")
