"""Ask celery's workers for so many runs, and print how many processes made them."""

import sys

from tests.programs.serving.tasks import work

asked = [work.delay(number) for number in range(int(sys.argv[1]))]
print(len({one.get(timeout=120, interval=0.02) for one in asked}))
