"""The dashboards as code: `python deploy/grafana/dashboards.py` writes deploy/grafana/dashboards/*.json.

Every query is run against a real Prometheus that scraped a real gateway, the files are held against Grafana's schema,
and each dashboard is drawn with Grafana's own components (tests/deploy, tests/e2e/test_metrics.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

from boards.audits import AUDITS
from boards.drawing import as_json
from boards.drift import DRIFT
from boards.overview import OVERVIEW
from boards.serving import SERVING

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = {"fairness-overview": OVERVIEW, "drift": DRIFT, "serving": SERVING, "audits": AUDITS}


def main(folder: Path) -> None:
    """Write all of them into ``folder``."""
    folder.mkdir(exist_ok=True)
    for name, board in BOARDS.items():
        (folder / f"{name}.json").write_text(as_json(board), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
