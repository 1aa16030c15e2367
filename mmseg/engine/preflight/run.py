"""All checks, in order, and what they found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config

from mmseg.engine.preflight.config import config_findings, pretrained_findings
from mmseg.engine.preflight.data import data_findings
from mmseg.engine.preflight.disk import disk_findings, folder_findings
from mmseg.engine.preflight.environment import environment_findings
from mmseg.engine.preflight.files import FileCache
from mmseg.engine.preflight.finding import ERROR, NOTE, WARNING, Finding, exit_code, refuse
from mmseg.engine.preflight.keys import LOADERS
from mmseg.engine.preflight.memory import memory_findings, shm_findings, worker_findings
from mmseg.engine.preflight.model import build_parts
from mmseg.engine.preflight.splits import find_splits
from mmseg.engine.preflight.step import step_findings, trial_findings
from mmseg.utils.errors import UserError
from mmseg.utils.paths import home_path
from mmseg.utils.whole_files import holds_other_json

__all__ = ["check_report_file", "check_start", "preflight", "report"]


def preflight(config: Config, quick: bool = False) -> list[Finding]:
    """Every check of a configuration, its data and the machine. All modules must be registered.

    Args:
        config: with ``work_dir``.
        quick: read no image that was not read before, and train no step.
    """
    findings = [*environment_findings(), *pretrained_findings(config)]
    findings += _all_but_training(config, LOADERS, read=not quick)
    if quick:
        findings.append(Finding(NOTE, "one training step", "not tried (--quick)"))
    elif exit_code(findings) < 2 and config.get("train_dataloader") is not None:
        # with parts of its own, since a step changes them
        findings += step_findings(config, build_parts(config))
    return findings


def check_start(config: Config, processes: int = 1) -> list[Finding]:
    """What training must know before it starts, in about a second: no image is read that was not read before.

    What the run itself will say (no pretrained weights, an odd number of images) is left to it, test images to the test.

    Args:
        config: with ``work_dir``.
        processes: of the job that share this machine.

    Returns:
        the warnings.

    Raises:
        UserError: with one line an error.
    """
    findings = [finding for finding in environment_findings() if finding.severity != NOTE and finding.where == "device"]
    findings += _all_but_training(config, ("train_dataloader", "val_dataloader"), read=False, said=False, processes=processes)
    refuse(findings, f"{config.filename or 'config'} cannot be trained (--no-check passes over these checks):")
    return [finding for finding in findings if finding.severity == WARNING]


def _all_but_training(
    config: Config, loaders: Sequence[str], read: bool, said: bool = True, processes: int = 1
) -> list[Finding]:
    """Configuration, parts, disk, data and memory; ``said``: with the warnings that a data set logs by itself."""
    findings = list(config_findings(config))
    wrong = tuple(finding.where for finding in findings if finding.severity == ERROR)
    parts = build_parts(config, wrong)
    findings += parts.findings
    if parts.model is not None and exit_code(findings) < 2:
        findings += trial_findings(parts.model)
    if "work_dir" not in wrong:
        findings += folder_findings(config.work_dir)
    if parts.model is not None and not wrong:
        findings += disk_findings(config, parts.model)
    splits, of_splits = find_splits(config, loaders, wrong)
    findings += [finding for finding in of_splits if said or finding.severity == ERROR]
    findings += worker_findings(config, splits)
    findings += shm_findings(config, splits, processes=processes)
    findings += memory_findings(splits, processes=processes)
    findings += data_findings(splits, FileCache(home_path(".cache", "preflight.json")), read)
    return findings


def check_report_file(path: str | Path) -> None:
    """Raise a UserError where a file is there that is no earlier report: it would be lost."""
    if holds_other_json(path, {"exit_code", "findings"}):
        raise UserError(f"{path}: is there and holds something else than findings; choose another file by --json")


def report(findings: Sequence[Finding], json_file: str | Path | None = None) -> str:
    """One line a finding, the worst last, and a line that counts them.

    Args:
        findings: of :func:`preflight`.
        json_file: where to write them for programs, too: ``dict(exit_code=..., findings=[...])``.

    Raises:
        UserError: the file cannot be written, or holds something else.
    """
    if json_file is not None:
        check_report_file(json_file)
        content = dict(exit_code=exit_code(findings), findings=[asdict(finding) for finding in findings])
        try:
            Path(json_file).parent.mkdir(parents=True, exist_ok=True)
            Path(json_file).write_text(json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{json_file}: cannot be written ({error.strerror}); choose another file by --json") from error
    ordered = sorted(findings, key=lambda finding: (NOTE, WARNING, ERROR).index(finding.severity))
    count = Counter(finding.severity for finding in findings)
    lines = [f"{finding.severity:<8} {' '.join(str(finding).split())}" for finding in ordered]
    return "\n".join([*lines, f"{count[ERROR]} errors, {count[WARNING]} warnings"])
