"""Mutation fuzzers, one for each surface that data of others reaches.

``make fuzz SECONDS=60`` runs each for so long; the tests run a few hundred cases of each. A case is made of a
number alone, so that what was found can be run again: ``python -m tests.fuzz states --case 1234``.
"""
