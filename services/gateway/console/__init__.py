"""Pages for people: what the API answers, as HTML that works without scripts and without any other server."""

from services.gateway.console.routes import Console, console_routes

__all__ = ["Console", "console_routes"]
