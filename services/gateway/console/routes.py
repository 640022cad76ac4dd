"""Which page is where, and what happens to a form."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.errors import NotFound, ServiceError, Unauthenticated
from services.gateway.calls import Call
from services.gateway.console import door
from services.gateway.console.asking import Ask
from services.gateway.console.rendering import SECURITY, Renderer, policy
from services.gateway.console.views import (
    audits,
    cohorts,
    counterfactuals,
    models,
    monitors,
    operations,
    start,
    trainings,
    windows,
)
from services.gateway.edge import Edge

View = Callable[[Ask, Request], Awaitable[Mapping[str, Any]]]
Handler = Callable[[Request, Call], Awaitable[Response]]
ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]

ASSETS = ("console.css", "drift.js", "live.js", "player.js", "uPlot.iife.min.js", "uPlot.min.css")
PAGE_TIMEOUT_S = 30.0
_FRAMED = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
_HEADINGS = {
    401: "Sign in first",
    403: "This form was not accepted",
    404: "There is nothing here",
    429: "Too many requests",
    503: "A part of the platform is away",
    504: "It took too long",
}


def console_routes(console: Console) -> list[Route]:
    """All pages, for a Starlette application over the same edge as the API."""
    verdicts = audits.Verdicts()

    def listed(view: Callable[[Ask, Mapping[str, str]], Awaitable[Mapping[str, Any]]]) -> View:
        return lambda ask, request: view(ask, request.query_params)

    def named(collection: str, view: Callable[..., Awaitable[Mapping[str, Any]]], *more: Any) -> View:
        return lambda ask, request: view(ask, f"{collection}/{request.path_params['id']}", *more)

    pages: list[tuple[str, str, View]] = [
        ("/", "start", lambda ask, request: start.start(ask)),
        ("/cohorts", "cohorts", listed(cohorts.cohorts)),
        ("/cohorts/{id}", "cohort", named("cohorts", cohorts.cohort)),
        ("/models", "models", listed(models.models)),
        ("/models/{id}", "model", named("models", models.model)),
        ("/trainings", "trainings", listed(trainings.trainings)),
        ("/audits", "audits", listed(audits.audits)),
        ("/audits/{id}", "audit", named("audits", audits.audit, verdicts)),
        ("/counterfactuals", "counterfactuals", listed(counterfactuals.counterfactuals)),
        ("/counterfactuals/{id}", "counterfactual", named("counterfactuals", counterfactuals.counterfactual)),
        ("/monitors", "monitors", listed(monitors.monitors)),
        (
            "/monitors/{id}",
            "monitor",
            lambda ask, request: monitors.monitor(ask, _monitor(request), request.query_params),
        ),
        (
            "/monitors/{id}/windows/{index}",
            "window",
            lambda ask, request: windows.window(ask, _monitor(request), request.path_params["index"]),
        ),
        ("/operations", "operations", listed(operations.operations)),
        ("/operations/{id}", "operation", named("operations", operations.operation)),
        ("/operations/{id}/cancel", "cancel", named("operations", operations.operation)),
    ]
    return [
        *(Route(path, console.page(name, view)) for path, name, view in pages),
        Route("/operations/{id}/cancel", console.form("cancel", console.cancel), methods=["POST"]),
        Route("/operations/{id}/progress", console.endpoint("progress", console.progress)),
        *(
            Route(
                f"/{collection}/{{id}}/files/{{filename}}", console.endpoint("file", partial(console.file, collection))
            )
            for collection in ("audits", "cohorts", "counterfactuals")
        ),
        Route("/sign-in", console.sign_in_page),
        Route("/sign-in", console.sign_in, methods=["POST"]),
        Route("/sign-out", console.sign_out, methods=["POST"]),
        *(Route(f"/assets/{name}", _asset(name)) for name in ASSETS),
    ]


class Console:
    """What pages, forms and files have in common: the caller's session, and errors as pages."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._renderer = Renderer()
        self._attempts = door.Attempts()

    def page(self, name: str, view: View) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of the page whose template is ``name``."""

        async def answer(request: Request, call: Call) -> Response:
            data = await view(Ask(self._edge, call), request)
            return self._show(request, f"{name}.html", data)

        return self.endpoint(name, answer)

    def endpoint(self, name: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """``name`` becomes a metric's label."""

        async def endpoint(request: Request) -> Response:
            try:
                async with self._edge.guard.watch(
                    "console",
                    f"console/{name}",
                    peer=_peer(request),
                    session=door.session_of(request),
                    timeout_s=PAGE_TIMEOUT_S,
                ) as call:
                    return await handler(request, call)
            except Unauthenticated:
                return self._to_sign_in(request)
            except ServiceError as error:
                return self.problem(error, request)

        return endpoint

    def form(self, name: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a form that needs no fields but its token."""

        async def answer(request: Request, call: Call) -> Response:
            await door.checked_form(request)
            return await handler(request, call)

        return self.endpoint(name, answer)

    def problem(self, error: ServiceError, request: Request) -> Response:
        """The error as a page: what the API says, its reason, and when to come back."""
        status = 403 if error.reason == "FORM_FOREIGN" else 404 if error.reason == "NAME_MALFORMED" else error.http
        wait = {"Retry-After": str(max(1, round(error.retry_after_s)))} if error.retry_after_s else {}
        told = {
            "heading": _HEADINGS.get(status, "This did not work"),
            "message": error.message,
            "reason": error.reason,
            "status": status,
        }
        return self._show(request, "problem.html", told, status=status, headers=wait)

    def explained(self, otherwise: ErrorHandler) -> ErrorHandler:
        """The handler of paths that nobody has: a page for browsers, else ``otherwise``."""

        async def handler(request: Request, error: Exception) -> Response:
            status = getattr(error, "status_code", 500)
            wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
            if status == 404 and wants_page and not request.url.path.startswith(("/v1", "/v2")):
                return self.problem(NotFound("there is no page at this path", reason="PATH_NOT_FOUND"), request)
            return await otherwise(request, error)

        return handler

    async def progress(self, request: Request, call: Call) -> Response:
        """An operation as JSON, for the script that keeps a page up to date."""
        data = await operations.operation(Ask(self._edge, call), f"operations/{request.path_params['id']}")
        headers = {**SECURITY, "Content-Security-Policy": policy(), "Cache-Control": "no-store"}
        return Response(json.dumps(data["progress"]), media_type="application/json", headers=headers)

    async def cancel(self, request: Request, call: Call) -> Response:
        name = f"operations/{request.path_params['id']}"
        await Ask(self._edge, call)(operations.CANCEL, name=name)
        return _see(f"/{quote(name)}")

    async def file(self, collection: str, request: Request, call: Call) -> Response:
        """An artifact's bytes, which may be shown in a frame of our own pages but run nothing."""
        name = f"{collection}/{request.path_params['id']}"
        found = await self._edge.artifacts.find(name, request.path_params["filename"])
        headers = {
            **SECURITY,
            "ETag": f'"{found.sha256}"',
            "Cache-Control": "private, immutable, max-age=31536000",
            "Content-Security-Policy": _FRAMED,
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(await self._edge.artifacts.read(found), headers=headers, media_type=found.media_type)

    async def sign_in_page(self, request: Request) -> Response:
        if not self._edge.guard.keyed:
            return _see("/")
        return self._show(request, "sign_in.html", {"next": door.local_path(request.query_params.get("next", "/"))})

    async def sign_in(self, request: Request) -> Response:
        """A key for a session. The key itself is neither kept nor shown again."""
        peer = _peer(request)
        try:
            self._attempts.check(peer)
            fields = await door.checked_form(request)
            try:
                session = self._edge.guard.sign_in(fields.get("key", ""))
            except Unauthenticated:
                self._attempts.failed(peer)
                data = {"next": door.local_path(fields.get("next", "/")), "refused": True}
                return self._show(request, "sign_in.html", data, status=401)
        except ServiceError as error:
            return self.problem(error, request)
        response = _see(door.local_path(fields.get("next", "/")))
        door.keep_session(response, request, session)
        return response

    async def sign_out(self, request: Request) -> Response:
        try:
            await door.checked_form(request)
        except ServiceError as error:
            return self.problem(error, request)
        response = _see("/sign-in")
        door.drop_session(response)
        return response

    def _to_sign_in(self, request: Request) -> Response:
        if request.method != "GET":
            return _see("/sign-in")
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return _see(f"/sign-in?next={quote(asked, safe='')}")

    def _show(self, request: Request, template: str, data: Mapping[str, Any], **how: Any) -> Response:
        """The page with what every page has: where it is, whether someone is signed in, a token for its forms."""
        nonce, new = door.form_nonce(request)
        session = door.session_of(request)
        common = {
            "path": request.url.path,
            "first": not request.query_params.get("page_token"),
            "keyed": self._edge.guard.keyed,
            "signed_in": self._edge.guard.keyed and bool(session),
            "token": door.token(nonce, session),
            "refused": False,
        }
        response = self._renderer.page(template, {**common, **data}, **how)
        if new:
            door.keep_nonce(response, request, nonce)
        return response


def _monitor(request: Request) -> str:
    return f"monitors/{request.path_params['id']}"


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _see(path: str) -> Response:
    return RedirectResponse(path, status_code=303, headers={**SECURITY, "Cache-Control": "no-store"})


def _asset(name: str) -> Callable[[Request], Awaitable[Response]]:
    data = files("services.gateway.console").joinpath("assets", name).read_bytes()
    media_type = mimetypes.guess_type(name)[0]
    headers = {**SECURITY, "Content-Security-Policy": policy(), "Cache-Control": "no-cache"}

    async def endpoint(request: Request) -> Response:
        return Response(data, media_type=media_type, headers=headers)

    return endpoint
