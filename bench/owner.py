"""How soon work of every kind stops when its run is cancelled from another process, layer by layer."""

import argparse
import sys
from collections import defaultdict
from statistics import median

from tests.e2e.owned import LAYERS
from tests.e2e.owning import Told, cancelled
from tests.support.sidecar import sidecar_running


def layers(told: Told) -> dict[str, float]:
    """Milliseconds from the cut until each layer was last at work, and until a provider saw its caller go."""
    found = {layer: told.stopped_after(told.lines[layer][-1]) for layer in LAYERS}
    spoken = told.provider.spoken
    return found | {f"{kind}, seen by the provider": told.stopped_after(spoken[kind].gone) for kind in spoken}


def main() -> int:
    """Cancel so many runs, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.owner", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20, help="how many runs are cancelled")
    options = parser.parse_args()
    times: dict[str, list[float]] = defaultdict(list)
    late = 0
    with sidecar_running() as sidecar:
        for number in range(options.repetitions):
            told = cancelled(sidecar, f"r-{number}")
            late += len(told.lines["WRITTEN"])
            for layer, took in layers(told).items():
                times[layer].append(took)
            print(f"  run {number + 1} of {options.repetitions}", file=sys.stderr)
    print("\nmilliseconds from the cut (the journal's time) until the last sign of work")
    print(f"  {'':<28} {'p50':>6} {'p99':>6}")
    for layer, each in times.items():
        ordered = sorted(max(0.0, one) for one in each)
        worst = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
        print(f"  {layer:<28} {median(ordered):6.0f} {worst:6.0f}")
    print(f"  written late: {late}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
