"""Trouble told before it costs a night: one file a subject, each check a function that gives findings (docs/preflight.md)."""

from mmseg.engine.preflight.finding import Finding, exit_code
from mmseg.engine.preflight.machine import machine_findings
from mmseg.engine.preflight.model import class_findings
from mmseg.engine.preflight.run import check_report_file, check_start, preflight, report

__all__ = [
    "Finding", "check_report_file", "check_start", "class_findings", "exit_code", "machine_findings", "preflight", "report",
]
