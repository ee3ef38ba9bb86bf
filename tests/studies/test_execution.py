"""Steps on Dask workers that are started for the job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shadows import make_shadows

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os
from mine import half
from studies.clustered.execution import Workers

if __name__ == "__main__":
    before = dict(os.environ)
    run = Workers(parallel=True, executor="dask", max_workers=1).runner(half)
    print([found["half"] for found in run([1, 2, 5])])
    assert dict(os.environ) == before
"""


def test_dask_workers_import_what_the_program_does(tmp_path):
    pytest.importorskip("distributed")
    script = tmp_path / "program" / "job.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    (script.parent / "mine.py").write_text("def half(n):\n    return {'half': n / 2}\n")
    done = subprocess.run(
        [sys.executable, script], cwd=make_shadows(tmp_path / "work"), capture_output=True,
        text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[0.5, 1.0, 2.5]\n"), done.stderr
    assert "my own" not in done.stderr
