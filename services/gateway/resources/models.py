"""ModelService out of the catalogue, and out of the audits that judged a model."""

from __future__ import annotations

import asyncio
import base64
import binascii

from evenhand.resources.v1 import model_pb2
from evenhand.resources.v1 import model_service_pb2 as pb

from services.errors import PageTokenMismatch
from services.gateway.calls import Call
from services.gateway.catalogue import Catalogue
from services.gateway.resources.cards import Cards
from services.gateway.wire import model_message
from services.hosting.requests import page_size

_TOKEN_PREFIX = "models/"


class Models:
    """The handlers, by method name."""

    def __init__(self, catalogue: Catalogue, cards: Cards) -> None:
        self._catalogue = catalogue
        self._cards = cards

    async def GetModel(self, request: pb.GetModelRequest, call: Call) -> model_pb2.Model:
        """The named version of a model, or the highest; with its audits if the whole view is asked for."""
        name, _, version = request.name.removeprefix("models/").partition("@")
        served = await self._catalogue.find(name, version)
        model = model_message(served.entry)
        if request.view == pb.MODEL_VIEW_FULL:
            model.audits.extend(await asyncio.to_thread(self._cards.audits_of, served.name, model.digest))
        return model

    async def ListModels(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        """The highest version of each model, ordered by name. A token names the last model of the page before."""
        size = page_size(request.page_size)
        models = await self._catalogue.models()
        after = _read_token(request.page_token)
        rest = [name for name in models if name > after]
        page = rest[:size]
        return pb.ListModelsResponse(
            models=[model_message(models[name][-1].entry) for name in page],
            next_page_token=_make_token(page[-1]) if len(rest) > size else "",
        )


def _make_token(name: str) -> str:
    return base64.urlsafe_b64encode((_TOKEN_PREFIX + name).encode()).decode().rstrip("=")


def _read_token(token: str) -> str:
    if not token:
        return ""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_TOKEN_PREFIX):
        raise PageTokenMismatch("page_token was not made by a list of models", field="page_token")
    return text.removeprefix(_TOKEN_PREFIX)
