"""Nodes that run elsewhere: what is sent for a task, what runs it there, and what comes back.

``client`` is where the graph runs, ``host`` where the node does; ``outlet`` and ``told`` are how what happens
there is heard here, ``borrowed`` is how the node there uses what is here: checkpointer and store.
"""
