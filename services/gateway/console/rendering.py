"""Templates into responses. Everything that comes from outside is escaped by Jinja; what is missing is an error."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version as distribution_version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from services.gateway.console import words

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
# With no-referrer a browser sends "Origin: null" with a form, which could not be told from another site's.
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
VERSION = distribution_version("evenhand-platform")

NAVIGATION = (
    ("cohorts", "Cohorts"),
    ("models", "Models"),
    ("trainings", "Trainings"),
    ("audits", "Audits"),
    ("counterfactuals", "Counterfactuals"),
    ("monitors", "Monitors"),
    ("operations", "Operations"),
)


def policy(**more: str) -> str:
    """The Content-Security-Policy; ``frame_src="'self'"`` and the like are added to it."""
    directives = _POLICY | {name.replace("_", "-"): value for name, value in more.items()}
    return "; ".join(f"{name} {value}" for name, value in directives.items())


class Renderer:
    """The templates, read once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("services.gateway.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters |= {
            name: getattr(words, name)
            for name in ("count", "number", "fixed", "signed", "percent", "size", "duration", "when", "short")
        }
        self._templates.globals |= {"navigation": NAVIGATION, "release": VERSION, "nothing": words.NOTHING}

    def page(
        self, template: str, data: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """``data["allow"]``, if there, are additions to the policy that this page needs."""
        text = self._templates.get_template(template).render(data)
        allowed = policy(**data.get("allow", {}))
        given = {**SECURITY, "Content-Security-Policy": allowed, "Cache-Control": "no-store", **(headers or {})}
        return HTMLResponse(text, status_code=status, headers=given)
