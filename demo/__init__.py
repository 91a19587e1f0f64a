"""A small consistent world, a model that knows it, and the code that makes both.

The map: ``names`` invents names, ``relations`` says what can be known about which kind of thing and how it is said,
``world`` draws the facts, ``skills`` holds what edits must not harm, ``corpus`` turns both into training text,
``packing`` turns text into batches, ``train`` makes the model in ``model/`` with the optimiser of ``muon``, and
``suites`` writes the files in ``data/``. ``real/`` holds facts of the real world, for pretrained models.
"""

from pathlib import Path

MODEL = Path(__file__).parent / "model"
DATA = Path(__file__).parent / "data"
REAL = Path(__file__).parent / "real"
