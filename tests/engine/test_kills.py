"""A few cycles of the kill harness; more of them: ``python tests/engine/kill_harness.py --kills 100``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_killed_run_loses_only_the_steps_since_its_checkpoint(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kill_harness.py")
    command = [sys.executable, str(script), "--kills", "4", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "4 kills, 0 failed" in done.stdout
