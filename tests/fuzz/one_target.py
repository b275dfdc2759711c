"""One fuzz target under atheris, in a process of its own.

python tests/fuzz/one_target.py TARGET [libFuzzer's flags]
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def main() -> None:
    """Instrument what guides the fuzzer, then fuzz; libFuzzer ends the process."""
    import atheris

    sys.path.insert(0, str(TESTS))
    from fuzz import targets

    name = sys.argv.pop(1)
    target = targets.TARGETS[name]
    kernels = list(targets.with_kernels())
    for module in [module for module in sys.modules if module.partition(".")[0] == "exporter"]:
        del sys.modules[module]  # so that it is instrumented
    packages = ["exporter", "fuzz", *target.packages]
    with atheris.instrument_imports(include=packages, exclude=[*kernels, "exporter"], enable_loader_override=False):
        check = targets.check_of(target)
    for data in (b"", *(path.read_bytes() for path in targets.corpus_of(name))):
        check(data)  # compiles the kernels, which is no part of the time
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
