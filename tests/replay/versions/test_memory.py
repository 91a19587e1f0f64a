"""How much memory a version takes: it is rebuilt by a process that gets no more than it may need.

The kernel refuses what goes beyond RLIMIT_DATA, so nothing is sampled. The peak of the resident memory would not do: it
counts pages of mapped files, the base's and the blobs', which come and go as the machine likes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import synthetic

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts private mappings as data")

ROOT = Path(__file__).resolve().parents[3]
SHAPE = (4096, 4096)
IN_FLOAT64 = 8 * SHAPE[0] * SHAPE[1]

SCRIPT = """
import json, os, resource, sys
from pathlib import Path
from errata.editor.model.loading import ModelFiles
from errata.ledger.ledger import Ledger
from errata.replay.versions.materialise import Materialiser

folder = Path(sys.argv[1])
made = Materialiser(Ledger.open(folder / "work"), ModelFiles(folder / "base"))
made.digests((1,))  # whatever libraries keep for themselves is there from now on

def enough(way, edits, allowed):
    lines = Path("/proc/self/status").read_text().splitlines()
    limit = allowed + next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        (made.digests if way == "stream" else made.weights)(range(1, edits + 1))
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return 0
        raise
    return 1

for case in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        code = 9
        try:
            code = enough(*case)
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


CASES = [
    ("stream", 100, 1.95),
    ("stream", 600, 1.95),
    ("stream", 100, 1.45),
    ("weights", 100, 4.5),
    ("weights", 100, 8.0),
]
"""A way to make a version, of how many edits, and what it may take: one edited tensor in float64 is 1."""


@pytest.fixture(scope="module")
def enough(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int, float], bool]:
    """Whether a version of a ledger of 600 edits, over three matrices in batches of 200, could be made.

    Blobs may be mapped beside what a case may take.
    """
    folder = tmp_path_factory.mktemp("memory")
    ledger = synthetic.new_ledger(folder / "work", synthetic.base_folder(folder / "base", SHAPE, 3))
    synthetic.record(ledger, 600, batch_size=200)
    blobs = sum(path.stat().st_size for path in (folder / "work" / ".errata" / "objects").glob("??/*"))
    allowed = [(way, edits, blobs + int(units * IN_FLOAT64)) for way, edits, units in CASES]
    fixed = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(2**17)}  # what is freed is given back at once
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **fixed}
    words = [sys.executable, "-c", SCRIPT, str(folder), json.dumps(allowed)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
    codes = [int(line) for line in done.stdout.split()]
    assert len(codes) == len(CASES) and set(codes) <= {0, 1}, done.stderr
    return {case: code == 1 for case, code in zip(CASES, codes, strict=True)}


def test_a_stream_stays_below_twice_one_tensor_whatever_the_number_of_edits(enough: dict[object, bool]) -> None:
    assert enough["stream", 100, 1.95] and enough["stream", 600, 1.95]
    assert not enough["stream", 100, 1.45], "six times the edits take at most half a tensor more"


def test_the_measure_sees_what_it_is_meant_to_see(enough: dict[object, bool]) -> None:
    """The way that keeps all sums in memory holds three tensors in float64, and is found to."""
    assert not enough["weights", 100, 4.5]
    assert enough["weights", 100, 8.0]
