"""The report: an HTML page about a run or a sweep that holds all it needs, drawn there by plotly.js."""

from sheafcli.render.report.contents import Contents
from sheafcli.render.report.page import report_page, sweep_page

__all__ = ["Contents", "report_page", "sweep_page"]
