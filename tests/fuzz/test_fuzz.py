"""A few hundred cases of each fuzzer, the same ones every time."""

from random import Random

import pytest

from tests.fuzz.surfaces import SURFACES


@pytest.mark.timeout(300)  # half a minute, on an idle machine
@pytest.mark.parametrize("name", SURFACES)
def test_a_few_hundred_mutations_find_nothing(name):
    surface = SURFACES[name]()
    for case in range(200):
        surface(Random(case))
