"""How fast the server is, beside what else is installed: `python -m benchmarks --help`, `docs/performance.md`."""
