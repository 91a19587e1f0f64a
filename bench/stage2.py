"""Stage 2 at full width: one LU a batch, one Cholesky a batch, and one factor for all batches.

Sequential batches over a synthetic second moment whose eigenvalues fall off as those of real keys do. The LU is
`torch.linalg.solve` on the whole matrix, as the authors' code does it. Rates count the operations that each way needs,
against what the machine's float64 matrix product reaches in the same run.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from errata.editor.methods.memit import memit
from errata.editor.solve.solve import SolvedBy, Weights, apply_preserved, relative, solve
from errata.editor.solve.solver import Solver
from errata.replay.workflow.factor_cache import FactorCache

WEIGHTS = Weights(stats=15_000.0, norm=20.0)
"""The published settings for Llama-3-8B (Gupta et al., arXiv 2502.01636)."""
IDENTITY = "synthetic"


def run(widths: Iterable[int] = (2048, 14_336), batch: int = 100, batches: int = 4, past: int = 1000) -> dict[str, Any]:
    """Measure each width in turn."""
    return {
        "batch": batch,
        "past": past,
        "threads": torch.get_num_threads(),
        "widths": {str(width): _measure(width, batch, batches, past) for width in widths},
    }


def synthetic_moment(width: int, generator: torch.Generator) -> Tensor:
    """A second moment with a realistic spectrum: eigenvalues fall off as ``1 / rank``, down to 1e-5 of the largest.

    Its eigenvectors are those of two random reflections, so that no ``d³`` work goes into making it.
    """
    values = 1.0 / torch.arange(1, width + 1, dtype=torch.float64) + 1e-5
    moment = torch.diag(values * width / values.sum())
    for _ in range(2):
        w = torch.randn(width, generator=generator, dtype=torch.float64)
        w /= torch.linalg.norm(w)
        image = moment @ w
        moment.addr_(w, image - (w @ image) * w, alpha=-2.0)
        moment.addr_(image - (w @ image) * w, w, alpha=-2.0)
    return moment


def _measure(width: int, batch: int, batches: int, past: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(7)
    moment = synthetic_moment(width, generator)
    mixing = torch.randn(64, width, generator=generator)

    def draw(count: int) -> Tensor:
        """Keys that share some directions, as keys of subjects do."""
        return torch.randn(count, 64, generator=generator) @ mixing / 8 + torch.randn(count, width, generator=generator)

    keys = [draw(batch) for _ in range(batches)]
    old = draw(past)
    residuals = torch.zeros(batch, 1)
    result: dict[str, Any] = {"gemm_gflops": _gemm_rate(width, batch)}
    seconds, v = _timed(lambda: _by_lu(moment, keys[0], old))
    result["lu"] = _row(seconds, 2 / 3 * width**3 + 2 * (past + batch) * width**2, _residual(v, moment, keys[0], old))
    del v
    seconds, whole = _timed(lambda: solve(keys[0], residuals, moment, old, WEIGHTS.stats, WEIGHTS.norm))
    result["cholesky"] = _row(seconds, width**3 / 3 + (past + batch) * width**2, whole.residual)
    del whole
    with tempfile.TemporaryDirectory() as folder:
        store = FactorCache(Path(folder), keep=1)
        solver = Solver(moment, IDENTITY, store)
        none = old[:0]
        rows = []
        for i, group in enumerate(keys):
            live = torch.cat([none, *keys[:i]])
            rows.append(_ours(solver, group, residuals, live, width))
        result["first"], result["later"] = rows[0], rows[-1]
        del solver
        gc.collect()
        result["cold"] = _ours(Solver(moment, "", None), keys[0], residuals, old, width)
        gc.collect()
        fresh = Solver(moment, IDENTITY, store)
        if fresh.store is not None and any(Path(folder).iterdir()):
            result["from_disk"] = _ours(fresh, keys[0], residuals, none, width)
            fresh = Solver(moment, IDENTITY, store)
            result["cold_from_disk"] = _ours(fresh, keys[0], residuals, old, width)
            result["warm_with_past"] = _ours(fresh, keys[1], residuals, torch.cat([old, keys[0]]), width)
    return result


def _ours(solver: Solver, keys: Tensor, residuals: Tensor, past: Tensor, width: int) -> dict[str, Any]:
    factorised, read, held = solver.factorisations, solver.read, min(solver.held + len(keys), len(past))
    seconds, solution = _timed(lambda: memit(residuals, solver.preserve(keys, past, WEIGHTS)))
    factorised, read = solver.factorisations - factorised, solver.read - read
    n, m = len(keys), len(past)
    operations = 4.0 * n * width**2  # two triangular solves, and the product that measures the residual
    operations += factorised * width**3 / 3
    if solution.solved_by is SolvedBy.ABSORBED:
        operations += factorised * m * width**2
    else:  # new keys through the factor and into the small system, and all of them in the batch's solve
        operations += (m - held) * (2.0 * width**2 + 2.0 * m * width) + n * (4.0 * m * width + 2.0 * m**2)
    row = _row(seconds, operations, solution.residual)
    return {**row, "solved_by": solution.solved_by.value, "factorised": factorised, "read": read, "past": len(past)}


def _row(seconds: float, operations: float, residual: float) -> dict[str, Any]:
    return {"seconds": seconds, "gflops": operations / seconds / 1e9, "residual": residual}


def _by_lu(moment: Tensor, keys: Tensor, past: Tensor) -> Tensor:
    """``K1 A⁻¹`` as the authors' code finds it: the whole matrix formed, then `torch.linalg.solve`."""
    k1, kp = keys.double(), past.double()
    a = WEIGHTS.stats * moment + kp.T @ kp + k1.T @ k1
    a.diagonal().add_(WEIGHTS.norm)
    return torch.linalg.solve(a, k1.T).T


def _residual(v: Tensor, moment: Tensor, keys: Tensor, past: Tensor) -> float:
    k1 = keys.double()
    return relative(apply_preserved(v, moment, past, WEIGHTS) + (v @ k1.T) @ k1 - k1, k1)


def _gemm_rate(width: int, batch: int) -> dict[str, float]:
    """GFLOP/s of float64 products: of square matrices, and of a batch's rows with a square one."""
    size = min(width, 4096)
    a = torch.randn(size, size, dtype=torch.float64)
    rows = torch.randn(batch, size, dtype=torch.float64)
    square = min(_timed(lambda: a @ a)[0] for _ in range(3))
    thin = min(_timed(lambda: rows @ a)[0] for _ in range(3))
    return {"square": 2 * size**3 / square / 1e9, "thin": 2 * batch * size**2 / thin / 1e9}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = work()
    return time.perf_counter() - started, value


ROWS = {
    "lu": "one LU a batch",
    "cholesky": "one Cholesky a batch",
    "first": "ours, first batch of all",
    "later": "ours, later batches",
    "cold": "ours, new process, past keys, nothing on disk",
    "from_disk": "ours, new process, factor from disk",
    "cold_from_disk": "ours, new process, past keys, factor from disk",
    "warm_with_past": "ours, the batch after that",
}


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    lines = []
    for width, result in table["widths"].items():
        rate = result["gemm_gflops"]
        lines.append(
            f"d_in {width}, batches of {table['batch']}, {table['past']} past keys, {table['threads']} threads; "
            f"float64 products reach {rate['square']:.0f} GFLOP/s (square), {rate['thin']:.0f} (a batch's rows)"
        )
        lines.append(f"{'':<48}{'seconds':>9}{'LU / it':>9}{'GFLOP/s':>9}{'of peak':>9}{'residual':>10}  by")
        for key, words in ROWS.items():
            if key in result:
                row = result[key]
                lines.append(
                    f"{words:<48}{row['seconds']:>9.3f}{result['lu']['seconds'] / row['seconds']:>9.1f}"
                    f"{row['gflops']:>9.1f}{row['gflops'] / rate['square']:>9.0%}{row['residual']:>10.1e}"
                    f"  {row.get('solved_by', '-')}"
                )
    lines.append("LU / it: how many times as fast as one LU a batch")
    return "\n".join(lines)
