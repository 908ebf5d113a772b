"""The graph behind ``otel-stream demo``: it audits a tree of Python source.

Read it as an example of the engine, in the order the data flows: ``sources`` finds files,
``analysis`` and ``rules`` are plain functions over ``ast``, ``inspection`` looks deeper at one
function, ``state`` holds what flows and how it is merged, ``graph`` ties them together, and
``writer`` (or ``model``) turns the result into prose.
"""
