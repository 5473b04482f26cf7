"""Commands that are killed at random moments, their inputs changed in between: a short run of the long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks/reliability/kills.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")
def test_kills(tmp_path):
    out = tmp_path / "kills.json"
    command = [sys.executable, str(SCRIPT), "--moments", "4", "--commands", "import", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(out.read_text())
    assert facts["moments"] == 4
    assert facts["kills"] >= 4
