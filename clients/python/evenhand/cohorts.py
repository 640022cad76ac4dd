"""Cohorts: sending images and tables, reading what became of them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd
from google.protobuf import any_pb2

from evenhand.balancing import Balancing, Origin
from evenhand.cohort.v1 import cohort_pb2
from evenhand.cohort_calls import CohortCalls, Tables
from evenhand.listing import Listing, api_json
from evenhand.operations import AsyncOperation, Operation

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client


CARD, CARD_DATA, PROVENANCE = "card.md", "card.json", "provenance.parquet"


class Cohort:
    """An ingested cohort, or a synthetic one. Immutable: new data make a new cohort."""

    def __init__(self, proto: cohort_pb2.Cohort) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def digest(self) -> str:
        """sha256 of the manifest; the same input gives the same digest."""
        return self.proto.digest

    @property
    def records(self) -> int:
        return self.proto.records

    @property
    def patients(self) -> int:
        return self.proto.patients

    @property
    def attributes(self) -> dict[str, list[str]]:
        """Levels of each attribute."""
        return {attribute.name: [level.level for level in attribute.levels] for attribute in self.proto.attributes}

    @property
    def labels(self) -> list[str]:
        return [label.name for label in self.proto.labels]

    def label_counts(self) -> pd.DataFrame:
        """One row per label: label, positives, negatives, missing."""
        rows = [(label.name, label.positives, label.negatives, label.missing) for label in self.proto.labels]
        kinds = {"label": "str", "positives": "Int64", "negatives": "Int64", "missing": "Int64"}
        return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)

    @property
    def refused(self) -> pd.DataFrame:
        """Rows that could not be ingested: row, file, reason, message. The first 1000 of ``refused_count``."""
        rows = [(r.row, r.file, r.reason, r.message) for r in self.proto.refused]
        kinds = {"row": "Int64", "file": "str", "reason": "str", "message": "str"}
        return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)

    @property
    def refused_count(self) -> int:
        return self.proto.refused_count

    @property
    def demographics(self) -> dict[str, int]:
        """Patients of the table by what the demographics said of them: matched, unmatched, conflicting. Else empty."""
        if not self.proto.HasField("demographics"):
            return {}
        joined = self.proto.demographics
        return {"matched": joined.matched, "unmatched": joined.unmatched, "conflicting": joined.conflicting}

    @property
    def mask_labels(self) -> list[str]:
        """What the numbers in the masks stand for, from 0; empty where masks are 0 and 1."""
        return list(self.proto.mask_labels)

    @property
    def mask_planes(self) -> list[str]:
        """What the masks' planes show, such as "ED" and "ES"; empty where a mask has one plane."""
        return list(self.proto.mask_planes)

    @property
    def synthetic(self) -> Origin | None:
        """Where the images came from, if a model made them; None for images of patients."""
        return Origin(self.proto.synthetic) if self.proto.HasField("synthetic") else None

    def to_pandas(self) -> pd.DataFrame:
        """One row per attribute level: attribute, level, records, patients."""
        rows = [
            (attribute.name, level.level, level.records, level.patients)
            for attribute in self.proto.attributes
            for level in attribute.levels
        ]
        kinds = {"attribute": "str", "level": "str", "records": "Int64", "patients": "Int64"}
        return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto = self.proto
        return {
            "name": proto.name,
            "display_name": proto.display_name,
            "synthetic": "" if self.synthetic is None else "yes",  # short enough for any terminal's list
            "made_by": "" if self.synthetic is None else self.synthetic.model,
            "patients": proto.patients,
            "records": proto.records,
            "refused": proto.refused_count,
            "modality": proto.modality,
            "has_masks": proto.has_masks,
            "attributes": self.attributes,
            "labels": self.labels,
            "demographics": self.demographics,
            "digest": proto.digest,
        }

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def __repr__(self) -> str:
        made = " synthetic" if self.synthetic is not None else ""
        return f"<{self.name}{made} {self.patients} patients, {self.records} records, {self.refused_count} refused>"

    def _repr_html_(self) -> str:
        table: str = self.to_pandas().to_html(index=False)
        made = "" if self.synthetic is None else f" <b>synthetic</b>, made by {escape(self.synthetic.model)}:"
        return f"<p><b>{self.name}</b>{made} {self.patients} patients, {self.records} records</p>{table}"


def unpacked_cohort(packed: any_pb2.Any) -> Cohort:
    """The cohort in an operation's response."""
    proto = cohort_pb2.Cohort()
    packed.Unpack(proto)
    return Cohort(proto)


class Cohorts:
    """``client.cohorts``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = CohortCalls(client.caller)

    def create(
        self,
        images: str | Path,
        *,
        schema: str | Path,
        table: str | Path | None = None,
        demographics: str | Path | None = None,
        files: Sequence[str] = (),
        display_name: str = "",
        request_id: str | None = None,
        progress: bool = True,
    ) -> Operation[Cohort]:
        """Send a folder of images and start its ingest.

        Args:
            images: folder. The files that the table names are sent; if it names none, those that fit ``files``.
            schema: YAML file, or a ready-made schema: "chexpert", "ucsf-pdgm", "short-axis-cine", "phantom-chest",
                "phantom-brain", "phantom-pelvis", "phantom-cardiac".
            table: CSV with one row per record; None where the schema finds the records itself.
            demographics: CSV with one row per patient, as the schema's ``demographics`` reads it.
            files: patterns such as "*_FLAIR.nii.gz"; without any, all files fit.
            display_name: what people will call it.
            request_id: UUID4; a repeated one gives the first operation. The client makes one otherwise.
            progress: draw a bar on standard error while sending.
        """
        flow = self.calls.create(
            Path(images),
            {"table": table, "demographics": demographics},
            schema,
            files=files,
            display_name=display_name,
            request_id=request_id,
            shown=progress,
        )
        return Operation(self._client, self._client.run(flow), unpacked_cohort)

    def create_from_folder(
        self,
        folder: str,
        *,
        schema: str | Path,
        table: str | Path | None = None,
        demographics: str | Path | None = None,
        display_name: str = "",
        request_id: str | None = None,
    ) -> Operation[Cohort]:
        """Ingest a folder on the server, under one of its import roots. Tables in the folder are read there."""
        tables: Tables = {"table": table, "demographics": demographics}
        flow = self.calls.create_from_folder(folder, tables, schema, display_name, request_id)
        return Operation(self._client, self._client.run(flow), unpacked_cohort)

    def synthesise(
        self,
        cohort: str,
        *,
        model: str,
        template: str,
        images: int,
        display_name: str = "",
        request_id: str | None = None,
        **settings: Unpack[Balancing],
    ) -> Operation[Cohort]:
        """Make a balanced cohort of synthetic images from a real one's prompts and masks.

        Args:
            cohort: the real cohort. Its training records are drawn from unless ``split`` says otherwise.
            model: a mask-to-image or text-to-image model.
            template: the prompt, with attributes and labels in braces: "{sex}, {bmi} BMI, {heart_failure}".
            images: how many to make.
            display_name: what people will call it.
            request_id: UUID4; a repeated one gives the first operation. The client makes one otherwise.
            settings: attributes and labels to balance on, and more: see :class:`evenhand.balancing.Balancing`.
        """
        flow = self.calls.synthesise(
            cohort, model, template, images, settings, display_name=display_name, request_id=request_id
        )
        return Operation(self._client, self._client.run(flow), unpacked_cohort)

    def card(self, name: str) -> str:
        """The card of a synthetic cohort, as Markdown. NotFound for a cohort of patients' images."""
        return self._client.run(self.calls.artifact(name, CARD)).decode()

    def card_data(self, name: str) -> dict[str, Any]:
        """What the card says, as JSON data."""
        found: dict[str, Any] = json.loads(self._client.run(self.calls.artifact(name, CARD_DATA)))
        return found

    def provenance(self, name: str) -> pd.DataFrame:
        """One row an image of a synthetic cohort: its source, prompt, seed and digests."""
        return pd.read_parquet(io.BytesIO(self._client.run(self.calls.artifact(name, PROVENANCE))))

    def get(self, name: str) -> Cohort:
        """One cohort. NotFound if there is none of that name."""
        return Cohort(self._client.run(self.calls.get(name)))

    def list(self, limit: int | None = None) -> Listing[Cohort]:
        """Cohorts, newest first, without their refused rows: :meth:`get` has them."""
        return Listing(Cohort(proto) for proto in self._client.run(self.calls.listing(limit)))

    def delete(self, name: str) -> None:
        """Forget a cohort. FailedPrecondition while an unfinished audit uses it."""
        self._client.run(self.calls.delete(name))


class AsyncCohorts:
    """``async_client.cohorts``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.calls = CohortCalls(client.caller)

    async def create(
        self,
        images: str | Path,
        *,
        schema: str | Path,
        table: str | Path | None = None,
        demographics: str | Path | None = None,
        files: Sequence[str] = (),
        display_name: str = "",
        request_id: str | None = None,
    ) -> AsyncOperation[Cohort]:
        """Send a folder of images and start its ingest; see :meth:`Cohorts.create`."""
        flow = self.calls.create(
            Path(images),
            {"table": table, "demographics": demographics},
            schema,
            files=files,
            display_name=display_name,
            request_id=request_id,
            shown=False,
        )
        return AsyncOperation(self._client, await self._client.run(flow), unpacked_cohort)

    async def synthesise(
        self,
        cohort: str,
        *,
        model: str,
        template: str,
        images: int,
        display_name: str = "",
        request_id: str | None = None,
        **settings: Unpack[Balancing],
    ) -> AsyncOperation[Cohort]:
        """Make a balanced cohort of synthetic images; see :meth:`Cohorts.synthesise`."""
        flow = self.calls.synthesise(
            cohort, model, template, images, settings, display_name=display_name, request_id=request_id
        )
        return AsyncOperation(self._client, await self._client.run(flow), unpacked_cohort)

    async def card(self, name: str) -> str:
        """The card of a synthetic cohort; see :meth:`Cohorts.card`."""
        return (await self._client.run(self.calls.artifact(name, CARD))).decode()

    async def get(self, name: str) -> Cohort:
        """One cohort. NotFound if there is none of that name."""
        return Cohort(await self._client.run(self.calls.get(name)))

    async def list(self, limit: int | None = None) -> Listing[Cohort]:
        """Cohorts, newest first, without their refused rows: :meth:`get` has them."""
        return Listing(Cohort(proto) for proto in await self._client.run(self.calls.listing(limit)))

    async def delete(self, name: str) -> None:
        """Forget a cohort."""
        await self._client.run(self.calls.delete(name))
