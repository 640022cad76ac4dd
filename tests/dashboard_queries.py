"""The queries of a dashboard's file as Grafana would ask them: variables resolved by the Prometheus that is asked."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.prometheus import Prometheus

OWN = {"__rate_interval": "10s", "__interval": "1s"}


def filled(text: str, values: Mapping[str, str]) -> str:
    """``$name`` and ``${name}`` replaced; an unknown one stays and is then a parse error."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: {**OWN, **values}.get(found[1], found[0]), text)


def variables(document: Mapping[str, Any], server: Prometheus) -> dict[str, str]:
    """Each variable's value in the order of the dashboard: the first, or all of them where several may be chosen."""
    values: dict[str, str] = {}
    for variable in document["templating"]["list"]:
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        assert asked is not None, variable["query"]
        match = urllib.parse.urlencode({"match[]": filled(asked[1], values)})
        with urllib.request.urlopen(f"{server.url}/api/v1/label/{asked[2]}/values?{match}", timeout=10) as reply:
            choices = json.load(reply)["data"]
        if choices:
            values[variable["name"]] = f"({'|'.join(choices)})" if variable["includeAll"] else choices[0]
        else:
            values[variable["name"]] = ".*"
    return values


def queries(dashboard: Path, server: Prometheus) -> list[tuple[str, str]]:
    """(panel title, PromQL) of every target. A repeated panel is asked for the first value of what repeats it."""
    document = json.loads(dashboard.read_text())
    values = variables(document, server)
    found = []
    for panel in document["panels"]:
        own = dict(values)
        if panel.get("repeat"):
            own[panel["repeat"]] = values[panel["repeat"]].strip("()").split("|")[0]
        found += [(panel["title"], filled(target["expr"], own)) for target in panel.get("targets", ())]
    return found
