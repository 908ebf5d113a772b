"""Skipping nodes whose input was seen before: the cache policy at work."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from otel_stream.events import End

from ..core.task import Done, NodeTask, RunEnv
from ..executors import finished
from ..graph.node import Node


def _key(task: NodeTask) -> tuple[tuple[str, ...], str]:
    """Return the full key of a task's cache entry: a namespace per node, and a digest of the input."""
    policy = task.spec.cache
    assert policy is not None
    found = policy.key_func(task.input)
    text = found.encode(errors="surrogatepass") if isinstance(found, str) else found
    digest = blake2b(text, digest_size=16).hexdigest()
    return cache_namespace(task.spec), digest


def cache_namespace(spec: Node) -> tuple[str, ...]:
    """Return the namespace under which a node's entries are cached."""
    target = spec.callback.original
    origin = (
        f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', type(target).__qualname__)}"
    )
    return ("__pregel_ns_writes", origin, spec.name)


async def cached_writes(env: RunEnv, tasks: Sequence[NodeTask], done: Done) -> Sequence[NodeTask]:
    """Give tasks the writes their cache entries hold; return those that must run."""
    keys = {_key(task): task for task in tasks if task.spec.cache is not None}
    if not keys:
        return tasks
    found = await env.cache.aget(list(keys)) if env.executor.is_async else env.cache.get(list(keys))
    for key, writes in found.items():
        task = keys[key]
        task.writes, task.end, task.cached = list(writes), End.OK, True
        await finished(done(task))
    return [task for task in tasks if not task.cached]


async def store_writes(env: RunEnv, task: NodeTask) -> None:
    """Remember what a task wrote."""
    if task.cached or task.spec.cache is None:
        return
    entry = {_key(task): (list(task.writes or ()), task.spec.cache.ttl)}
    if env.executor.is_async:
        await env.cache.aset(entry)
    else:
        env.cache.set(entry)
