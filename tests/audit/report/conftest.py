"""A report of everything a page shows, made up once, and its page."""

import pytest

from services.audit.report import render_report
from services.audit.report.figures.svg import drawing_settings
from tests.audit.report.sample import ReportSample


@pytest.fixture(scope="session")
def report():
    return ReportSample().report()


@pytest.fixture(scope="session")
def page(report):
    return render_report(report)


@pytest.fixture
def drawing():
    with drawing_settings():
        yield
