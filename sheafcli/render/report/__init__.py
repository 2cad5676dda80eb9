"""The report: one HTML page about a run that holds all it needs, drawn in the browser by plotly.js."""

from sheafcli.render.report.contents import Contents
from sheafcli.render.report.page import report_page

__all__ = ["Contents", "report_page"]
