"""``python -m tests.fuzz [SURFACE...] [--seconds N] [--case N]``: says what it finds, and how to see it
again.
"""

import argparse
import logging
import random
import sys
import time
import traceback

from tests.fuzz.surfaces import SURFACES


def main() -> int:
    """Run, and return how many surfaces something was found on."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("surfaces", nargs="*", metavar="SURFACE", help=", ".join(SURFACES))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--case", type=int)
    given = parser.parse_args()
    logging.disable()
    found = 0
    for name in given.surfaces or SURFACES:
        surface = SURFACES[name]()
        first = random.randrange(10**9) if given.case is None else given.case
        until, case, slowest = time.monotonic() + given.seconds, first, 0.0
        while case == first or (given.case is None and time.monotonic() < until):
            began = time.monotonic()
            try:
                surface(random.Random(case))
            except Exception:
                traceback.print_exc()
                print(f"{name}: python -m tests.fuzz {name} --case {case}")
                found += 1
                break
            slowest = max(slowest, time.monotonic() - began)
            case += 1
        print(f"{name}: {case - first} cases, the slowest took {slowest:.1f} s", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
