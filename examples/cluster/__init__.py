"""Runs on more than one machine, here on one: ``make cluster-demo``, or ``python -m examples.cluster``.

Read it in this order: ``graph`` is what runs, ``worker`` a process that runs it, ``watcher`` one that sees
all runs and has none. ``services`` starts what they share: PostgreSQL, Kafka, two Ray nodes, Jaeger. ``demo``
hands out the work and kills a worker, ``table`` shows it; ``checks`` says whether it went well.

Processes are told, and tell, lines of JSON by their standard input and output. Where you have a queue of
jobs, that is its place: otel-stream hands out no work.
"""
