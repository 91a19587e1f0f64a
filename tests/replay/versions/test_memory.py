"""How much memory a version takes: measured on a process of its own, by what the kernel says it held at its peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import synthetic
from bench.memory import RESET

pytestmark = pytest.mark.skipif(not RESET.exists(), reason="the kernel keeps no peak that can be reset")

ROOT = Path(__file__).resolve().parents[3]
SHAPE = (4096, 4096)
IN_FLOAT64 = 8 * SHAPE[0] * SHAPE[1]

SCRIPT = """
import json, sys
from pathlib import Path
from bench.memory import growth
from errata.editor.model.loading import ModelFiles
from errata.ledger.ledger import Ledger
from errata.replay.versions.materialise import Materialiser

folder, way, edits = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
made = Materialiser(Ledger.open(folder / "work"), ModelFiles(folder / "base"))
made.digests((1,))  # whatever libraries keep for themselves is there from now on
work = made.digests if way == "stream" else made.weights
print(json.dumps({"grown": growth(lambda: work(range(1, edits + 1)))}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of 600 edits over three matrices of 4096 x 4096, in batches of 200."""
    folder = tmp_path_factory.mktemp("memory")
    ledger = synthetic.new_ledger(folder / "work", synthetic.base_folder(folder / "base", SHAPE, 3))
    synthetic.record(ledger, 600, batch_size=200)
    return folder


def grown(folder: Path, way: str, edits: int) -> float:
    """By how much the peak grew, in units of one edited tensor in float64."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", SCRIPT, str(folder), way, str(edits)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["grown"]) / IN_FLOAT64


def test_a_stream_stays_below_twice_one_tensor_whatever_the_number_of_edits(folder: Path) -> None:
    few, many = grown(folder, "stream", 100), grown(folder, "stream", 600)
    assert many < 2.0, (few, many)
    assert many < few + 0.5, (few, many)


def test_the_measure_sees_what_it_is_meant_to_see(folder: Path) -> None:
    """The way that keeps all sums in memory holds three tensors in float64, and is found to."""
    assert grown(folder, "weights", 100) > 2.5
