"""`cvgssl bench`: compare heads over data sets, encoders, settings, shots and draws."""

import sys
from collections.abc import Sequence

from cvgssl.bench.config import BenchConfig
from cvgssl.cli.command import Command
from cvgssl.runtime.parsing import printable

COMMAND = Command(BenchConfig)


def run(argv: Sequence[str], prog: str) -> int:
    """Compute what is missing, print the tables, write the page; 1 when a cell failed."""
    config = COMMAND.parse(argv, prog)

    from cvgssl.bench.job import run_bench
    from cvgssl.report.bench import print_bench, write_bench_page
    from cvgssl.runtime.stopping import Stopped

    try:
        bench = run_bench(config)
    except Stopped as stopped:
        print(f"{prog}: stopped in {stopped.folder}; the same command goes on", file=sys.stderr)
        return stopped.exit_code
    page = write_bench_page(bench)  # before the reader of the table may have gone
    print(
        f"{bench.computed} cells computed, {bench.reused} found in {config.out}, "
        f"{bench.seconds:.0f} s",
        file=sys.stderr,
    )
    print_bench(bench)
    for line in bench.skipped:
        print(printable(line), file=sys.stderr)
    print(f"report: {page}; tables, figures, draws beside it")
    return 1 if bench.failed else 0
