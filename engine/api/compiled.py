"""A compiled graph: what users call. Each method is LangGraph's, by name, arguments and meaning.

``Pregel`` is one of nodes that subscribe to channels, made by hand; ``CompiledStateGraph`` is what a
``StateGraph`` compiles to.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, Unpack, overload

from typing_extensions import TypeVar

from otel_stream.adapters.projections import by_events, run_of
from otel_stream.adapters.runnable import borrowed, is_borrowed, register
from otel_stream.config import StreamConfig, parse_modes
from otel_stream.stream.receiver import Carrier

from ..core.task import NodeTask
from ..deprecated import refuse_others
from ..executors import Executor, ThreadExecutor, async_executor, drive
from ..graph.compiler import check_checkpointer
from ..graph.description import Description
from ..graph.drawing import Drawing, draw
from ..graph.program import Program
from ..graph.schema import ROOT, json_schema, model_of
from ..graph.spec import GraphSpec
from ..graph.subscription import ChannelNode, NodeBuilder, channel_program
from ..policies import CachePolicy, RetryPolicy, as_policies
from ..run.caching import cache_namespace
from ..run.loop import RunLoop
from ..types import INTERRUPT, All, Command, Config, GraphOutput
from .batch import run_abatch, run_batch
from .config import merge_configs
from .formats import coerced
from .launch import caller_of, concurrency, launch
from .options import Asked, Options, RunOptions, spelled_out
from .printing import launch_printing
from .pull import astream, stream
from .run_stream import RunStream, inherited_observer
from .state import StateApi

T = TypeVar("T")
StateT = TypeVar("StateT", default=Any)
ContextT = TypeVar("ContextT", default=None)
InputT = TypeVar("InputT", default=StateT)
OutputT = TypeVar("OutputT", default=StateT)
GivenT = TypeVar("GivenT")
#: An output that ``invoke`` returns as it is: of a dataclass or model it returns the mapping of its fields.
MappingT = TypeVar("MappingT", bound=Mapping[str, Any])


class Declared(Generic[T]):
    """An attribute of a compiled graph that stands in its ``spec``."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    def __get__(self, graph: Any, owner: type) -> T:
        if graph is None:
            raise AttributeError(f"{owner.__name__}.{self._name}: only a compiled graph has one")
        found: T = getattr(graph.spec, self._name)
        return found

    def __set__(self, graph: Any, value: T) -> None:
        graph.spec = replace(graph.spec, **{self._name: value})


class Pregel(StateApi):
    """A graph that can be run: nodes that subscribe to channels, and write to them for the superstep to come.

    ``nodes``: by name, each a ``NodeBuilder``. ``channels``: by name, such as ``LastValue(int)``. The input
    is written to ``input_channels``, and the result read from ``output_channels``: a name for the value of
    one channel, several for a mapping. Streams show ``stream_channels``, all by default, in ``stream_mode``
    unless they are asked for others. ``retry_policy`` and ``cache_policy`` are those of nodes without their
    own; ``step_timeout`` limits each superstep, in seconds. The rest is as in ``StateGraph.compile``.

    Its ``config``, as that of each run, is a RunnableConfig: ``configurable`` (with ``thread_id`` for a
    checkpointer), ``tags``, ``metadata``, ``recursion_limit``, ``max_concurrency``. Exceptions of nodes reach
    the caller as they are.

    Example:
        double = NodeBuilder().subscribe_only("a").do(lambda a: a + a).write_to("b")
        graph = Pregel(
            nodes={"double": double},
            channels={"a": EphemeralValue(str), "b": LastValue(str)},
            input_channels="a",
            output_channels="b",
        )
        assert graph.invoke("x") == "xx"

    Raises:
        ValueError: a channel that is named and not there, or an input that no node subscribes to.
        TypeError: what is no node, channel or checkpointer.
    """

    is_compiled_graph = True

    def __init__(
        self,
        *,
        nodes: Mapping[str, NodeBuilder | ChannelNode],
        channels: Mapping[str, Any] | None,
        input_channels: str | Sequence[str],
        output_channels: str | Sequence[str],
        stream_channels: str | Sequence[str] | None = None,
        stream_mode: Any = "values",
        interrupt_before_nodes: All | Sequence[str] = (),
        interrupt_after_nodes: All | Sequence[str] = (),
        step_timeout: float | None = None,
        debug: bool = False,
        checkpointer: Any = None,
        store: Any = None,
        cache: Any = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        cache_policy: CachePolicy | None = None,
        context_schema: Any = None,
        config: Config | None = None,
        name: str = "LangGraph",
        stream_transformers: Sequence[Any] = (),
        **old: Any,
    ) -> None:
        for told in ("auto_validate", "stream_eager", "trigger_to_nodes"):  # how LangGraph does it
            old.pop(told, None)
        refuse_others(old, "Pregel")
        check_checkpointer(checkpointer)
        parse_modes(stream_mode)
        for breakpoint in (*interrupt_before_nodes, *interrupt_after_nodes):
            if breakpoint != "*" and breakpoint not in nodes:
                raise ValueError(f"Interrupt node `{breakpoint}` not found; known nodes: {', '.join(nodes)}")
        program, described = channel_program(
            nodes,
            channels or {},
            inputs=input_channels,
            outputs=output_channels,
            shown=stream_channels,
            retry=as_policies(retry_policy),
            cache=cache_policy,
            context_schema=context_schema,
        )
        self._made_of(
            GraphSpec(
                name,
                program,
                described,
                checkpointer,
                store,
                cache,
                interrupt_before_nodes,
                interrupt_after_nodes,
                config or {},
                step_timeout,
                debug,
                tuple(stream_transformers),
                stream_mode,
            )
        )

    def _made_of(self, spec: GraphSpec) -> None:
        self.spec = spec
        register(type(self))

    #: What it was compiled of and with; to change one is to have another ``spec``.
    name = Declared[str]()
    program = Declared[Program]()
    builder = Declared[Description]("description")
    checkpointer = Declared[Any]()
    cache = Declared[Any]()
    store = Declared[Any]()
    interrupt_before_nodes = Declared[Any]()
    interrupt_after_nodes = Declared[Any]()
    config = Declared[Config]()
    stream_mode = Declared[Any]()
    step_timeout = Declared[float | None]()
    debug = Declared[bool]()
    stream_transformers = Declared[Any]("transformers")

    @property
    def nodes(self) -> dict[str, Any]:
        """The nodes by name."""
        return self.program.nodes

    @property
    def channels(self) -> dict[str, Any]:
        """The channels by name."""
        return self.program.channels

    @property
    def context_schema(self) -> Any:
        """The schema of the run context, None if the graph takes none."""
        return self.spec.description.context_schema

    # -- as LangChain's Runnable -----------------------------------------------------------------

    def __class_getitem__(cls, item: Any) -> GenericAlias:
        """Allow ``CompiledStateGraph[State]`` in annotations."""
        return GenericAlias(cls, item)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, nodes=[{', '.join(map(repr, self.nodes))}])"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Show the graph's picture in a notebook: drawn here, by nobody's service."""
        return {"text/plain": repr(self), "image/svg+xml": self.get_graph().draw_svg()}

    def __getattr__(self, name: str) -> Any:
        """Borrow what only LangChain's Runnable has: ``with_retry``, ``bind``, ``astream_events``, ..."""
        if is_borrowed(name):
            return borrowed(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __or__(self, other: Any) -> Any:
        """Make a chain of the graph and what is called with its result."""
        return borrowed(self, "__or__")(other)

    def __ror__(self, other: Any) -> Any:
        """Make a chain of what is called first and the graph."""
        return borrowed(self, "__ror__")(other)

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangChain's name
        """The type of the input."""
        return self.spec.description.input_schema

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        """The type of the output."""
        return self.spec.description.output_schema

    def get_input_schema(self, config: Config | None = None) -> Any:
        """Return a pydantic model of the input."""
        return model_of(self.spec.description.input_schema, self.get_name("Input"))

    def get_output_schema(self, config: Config | None = None) -> Any:
        """Return a pydantic model of the output."""
        return model_of(self.spec.description.output_schema, self.get_name("Output"))

    @property
    def input_schema(self) -> Any:
        """A pydantic model of the input."""
        return self.get_input_schema()

    @property
    def output_schema(self) -> Any:
        """A pydantic model of the output."""
        return self.get_output_schema()

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the graph's name, LangChain's way of asking for it."""
        found = name or self.name
        return f"{found}{suffix}" if suffix else found

    def with_config(self, config: Config | None = None, **settings: Any) -> Self:
        """Return the same graph with ``config`` merged into every run's."""
        other = copy.copy(self)
        other.config = merge_configs(self.config, config, settings)
        return other

    def copy(self, update: dict[str, Any] | None = None) -> Self:
        """Return the same graph with some attributes changed."""
        other = copy.copy(self)
        for name, value in (update or {}).items():
            setattr(other, name, value)
        return other

    def clear_cache(self, nodes: Sequence[str] | None = None) -> None:
        """Forget the cached results of ``nodes``, of all by default.

        Raises:
            ValueError: the graph has no cache.
        """
        self._cache().clear(self._cache_namespaces(nodes))

    async def aclear_cache(self, nodes: Sequence[str] | None = None) -> None:
        """Do what :meth:`clear_cache` does."""
        await self._cache().aclear(self._cache_namespaces(nodes))

    def _cache(self) -> Any:
        if self.cache is None:
            raise ValueError("No cache is set for this graph. Cannot clear cache: compile it with cache=...")
        return self.cache

    def _cache_namespaces(self, nodes: Sequence[str] | None) -> list[tuple[str, ...]]:
        return [cache_namespace(self.nodes[name]) for name in nodes or self.nodes if name in self.nodes]

    # -- running ---------------------------------------------------------------------------------

    @spelled_out(Options, stream_mode="values")
    def invoke(self, input: Any, config: Config | None = None, **options: Unpack[Options]) -> Any:
        """Run to the end and return the result, without an event loop; every node must have a sync form.

        Returns:
            The output; with what the run waits for under ``__interrupt__``, or as ``GraphOutput`` with
            ``version="v2"``. With another ``stream_mode`` than "values", the list of its parts.
        """
        asked = Asked.of(options, modes="values")
        if asked.modes != "values":
            return list(stream(self.spec, input, config, asked))
        caller = caller_of(self.spec, config)
        executor = ThreadExecutor(concurrency(self.spec, config, caller))
        loop = self._launch(input, config, asked, executor, caller)
        try:
            drive(loop.execute())
        finally:
            executor.close()
        return self._output(loop, asked.version)

    @spelled_out(Options, stream_mode="values")
    async def ainvoke(self, input: Any, config: Config | None = None, **options: Unpack[Options]) -> Any:
        """Run to the end on asyncio or trio and return the result; see :meth:`invoke`."""
        asked = Asked.of(options, modes="values")
        if asked.modes != "values":
            return [part async for part in astream(self.spec, input, config, asked)]
        caller = caller_of(self.spec, config)
        executor = async_executor(concurrency(self.spec, config, caller))
        loop = self._launch(input, config, asked, executor, caller)
        await loop.execute()
        return self._output(loop, asked.version)

    def _launch(
        self, input: Any, config: Config | None, asked: Asked, executor: Executor, caller: NodeTask | None
    ) -> RunLoop:
        if asked.printed:
            return launch_printing(self.spec, input, config, asked, executor, caller)
        observer = inherited_observer(caller)
        return launch(self.spec, input, config, asked, executor, observer, caller=caller)

    def _output(self, loop: RunLoop, version: str) -> Any:
        questions, single = loop.interrupts, loop.env.output.single
        value: Any = loop.result if loop.shown or (questions and single is None) else None
        if version == "v2":
            return GraphOutput(coerced(self.program.make_output, value), questions)
        if questions:
            is_state = single is None or (single == ROOT and isinstance(value, dict))
            return {**(value if is_state else {}), INTERRUPT: list(questions)}
        return value

    def batch(
        self,
        inputs: Sequence[Any],
        config: Config | Sequence[Config] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[Options],
    ) -> list[Any]:
        """Run :meth:`invoke` on every input, in threads, and return the results in their order."""
        return run_batch(lambda x, c: self.invoke(x, c, **options), inputs, config, return_exceptions)

    async def abatch(
        self,
        inputs: Sequence[Any],
        config: Config | Sequence[Config] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Unpack[Options],
    ) -> list[Any]:
        """Run :meth:`ainvoke` on every input, side by side, and return the results in their order."""
        return await run_abatch(lambda x, c: self.ainvoke(x, c, **options), inputs, config, return_exceptions)

    # -- streaming -------------------------------------------------------------------------------

    @spelled_out(Options)
    def stream(self, input: Any, config: Config | None = None, **options: Unpack[Options]) -> Iterator[Any]:
        """Run as the caller iterates. ``stream_mode`` is one mode or several; *updates* by default.

        That of a ``Pregel`` made by hand is its own.

        Yields:
            With ``version="v1"`` the data of each part, in a tuple behind its namespace (``subgraphs=True``)
            and its mode (several modes); with ``"v2"`` a mapping of ``type``, ``ns`` and ``data``. Parts of
            ``print_mode`` are printed, too, or only, where they come into being.

        Raises:
            ConfigError: a mode that does not exist.
        """
        asked = Asked.of(options, modes=self.spec.stream_mode, whole=True, debug=self.debug)
        return stream(self.spec, input, config, asked)

    @spelled_out(Options)
    def astream(
        self, input: Any, config: Config | None = None, **options: Unpack[Options]
    ) -> AsyncIterator[Any]:
        """Run on asyncio or trio as the caller iterates; see :meth:`stream`."""
        asked = Asked.of(options, modes=self.spec.stream_mode, whole=True, debug=self.debug)
        return astream(self.spec, input, config, asked)

    @spelled_out(RunOptions)
    def open_stream(
        self,
        input: Any,
        *streams: StreamConfig | Carrier,
        config: Config | None = None,
        **options: Unpack[RunOptions],
    ) -> RunStream:
        """Run in the background, with one receiver per ``StreamConfig``; none is one of all defaults.

        Beside configs may be what takes the parts elsewhere, ``otel_stream.kafka.KafkaSink``, say: who leaves
        the stream waits until they are delivered.

        A context manager: on asyncio or trio with ``async with``; with ``with`` the run has a thread of its
        own, without an event loop, and its parts are iterated in this one.

        Example::

            async with graph.open_stream(x, StreamConfig(modes=("updates", "messages"))) as stream:
                async for part in stream:
                    ...
            result = stream.result
        """
        asked = Asked.of(options, modes="updates", whole=True)
        return RunStream(self.spec, input, streams or (StreamConfig(),), config, asked)

    def stream_events(
        self,
        input: Any,
        config: Config | None = None,
        *,
        version: str = "v2",
        transformers: Sequence[Any] | None = None,
        **options: Any,
    ) -> Any:
        """Return the run with its parts as projections, ``version="v3"``, by LangGraph's code.

        ``transformers`` make more of them. LangChain has the other versions for ``astream_events`` only.

        Raises:
            TypeError: ``stream_mode`` or ``subgraphs``, which the projections decide.
        """
        if version != "v3":
            return borrowed(self, "stream_events")(input, config, version=version, **options)
        _refuse_modes(options)
        yields = partial(self.stream, input, by_events(config), subgraphs=True, version="v2", **options)
        return self._projected(yields, transformers, is_async=False)

    def astream_events(
        self,
        input: Any,
        config: Config | None = None,
        *,
        version: str = "v2",
        transformers: Sequence[Any] | None = None,
        **options: Any,
    ) -> Any:
        """Yield what LangChain's callbacks are told of the run, as its ``version`` "v1" or "v2" shows that.

        With ``version="v3"`` do what :meth:`stream_events` does; to be awaited.
        """
        if version != "v3":
            return borrowed(self, "astream_events")(input, config, version=version, **options)
        _refuse_modes(options)
        yields = partial(self.astream, input, by_events(config), subgraphs=True, version="v2", **options)

        async def begin() -> Any:
            return self._projected(yields, transformers, is_async=True)

        return begin()

    def _projected(
        self, yields: Callable[..., Any], transformers: Sequence[Any] | None, *, is_async: bool
    ) -> Any:
        given = [*self.spec.transformers, *(transformers or ())]
        return run_of(lambda modes: yields(stream_mode=modes), given, is_async=is_async)

    # -- looking at it ---------------------------------------------------------------------------

    def get_graph(self, config: Config | None = None, *, xray: int | bool = False) -> Drawing:
        """Return the nodes and edges; ``xray`` opens subgraphs: all of them, or so many levels deep.

        Example:
            print(graph.get_graph(xray=True).draw_mermaid())
        """
        return draw(self.spec, sys.maxsize if xray is True else int(xray))

    async def aget_graph(self, config: Config | None = None, *, xray: int | bool = False) -> Drawing:
        """Do what :meth:`get_graph` does."""
        return self.get_graph(config, xray=xray)

    def get_input_jsonschema(self, config: Config | None = None) -> dict[str, Any]:
        """Return the JSON schema of the input."""
        return json_schema(self.spec.description.input_schema, f"{self.name}Input")

    def get_output_jsonschema(self, config: Config | None = None) -> dict[str, Any]:
        """Return the JSON schema of the output."""
        return json_schema(self.spec.description.output_schema, f"{self.name}Output")

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the run context, None if the graph takes none."""
        return (
            json_schema(self.context_schema, self.context_schema.__name__)
            if self.context_schema is not None
            else None
        )


class CompiledStateGraph(Pregel, Generic[StateT, ContextT, InputT, OutputT]):
    """A graph that can be run: made by ``StateGraph.compile``, and by ``entrypoint``.

    ``CompiledStateGraph[State]`` is its type: type checkers know what it takes, and that ``invoke`` returns
    the mapping that ``State`` is; of a dataclass or model that is the mapping of its fields.
    """

    def __init__(self, spec: GraphSpec) -> None:
        self._made_of(spec)

    if TYPE_CHECKING:

        @overload
        def invoke(
            self: CompiledStateGraph[Any, Any, GivenT, MappingT],
            input: GivenT | Command[Any] | None,
            config: Config | None = None,
            *,
            version: Literal["v1"] = "v1",
            **options: Unpack[RunOptions],
        ) -> MappingT: ...

        @overload
        def invoke(
            self,
            input: InputT | Command[Any] | None,
            config: Config | None = None,
            *,
            version: Literal["v2"],
            **options: Unpack[RunOptions],
        ) -> GraphOutput[OutputT]: ...

        @overload
        def invoke(
            self,
            input: InputT | Command[Any] | None,
            config: Config | None = None,
            **options: Unpack[Options],
        ) -> Any: ...
        def invoke(self, input: Any, config: Any = None, **options: Any) -> Any: ...

        @overload
        async def ainvoke(
            self: CompiledStateGraph[Any, Any, GivenT, MappingT],
            input: GivenT | Command[Any] | None,
            config: Config | None = None,
            *,
            version: Literal["v1"] = "v1",
            **options: Unpack[RunOptions],
        ) -> MappingT: ...

        @overload
        async def ainvoke(
            self,
            input: InputT | Command[Any] | None,
            config: Config | None = None,
            *,
            version: Literal["v2"],
            **options: Unpack[RunOptions],
        ) -> GraphOutput[OutputT]: ...

        @overload
        async def ainvoke(
            self,
            input: InputT | Command[Any] | None,
            config: Config | None = None,
            **options: Unpack[Options],
        ) -> Any: ...
        async def ainvoke(self, input: Any, config: Any = None, **options: Any) -> Any: ...

        @overload
        def open_stream(
            self: CompiledStateGraph[Any, Any, GivenT, MappingT],
            input: GivenT | Command[Any] | None,
            *streams: StreamConfig | Carrier,
            config: Config | None = None,
            **options: Unpack[RunOptions],
        ) -> RunStream[MappingT]: ...

        @overload
        def open_stream(
            self,
            input: InputT | Command[Any] | None,
            *streams: StreamConfig | Carrier,
            config: Config | None = None,
            **options: Unpack[RunOptions],
        ) -> RunStream[Any]: ...
        def open_stream(self, input: Any, *streams: Any, config: Any = None, **options: Any) -> Any: ...


def _refuse_modes(options: Mapping[str, Any]) -> None:
    for name in ("stream_mode", "subgraphs"):
        if name in options:
            raise TypeError(
                f"{name}: what a run of version 'v3' streams is decided by its projections; drop it"
            )
