"""Benchmarks: what README and docs quote comes from here, by ``python -m bench``; each run prints and writes a table.

Figures of quality depend on seeds alone. Timings are ratios of things measured side by side in one run.
"""
