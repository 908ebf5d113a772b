"""What is measured of calls: of models, tools and retrievers, by graph and node, sampled or not."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter

from otel_stream import semconv
from otel_stream.calls import Call, Usage
from otel_stream.telemetry.calls.attributes import UNKNOWN_PROVIDER
from otel_stream.telemetry.metrics.names import Names
from otel_stream.telemetry.scope import Attributes, FixedAttributes

#: Models, tools and hosts that are told apart.
_MODELS: Final = 300
_TOOLS: Final = 500
_HOSTS: Final = 200
#: Sets of attributes that are kept, so that a histogram looks them up once.
_KEPT: Final = 2000
_SECONDS: Final = 1e-9


class CallInstruments:
    """The instruments of one meter that calls are measured with."""

    def __init__(self, meter: Meter, names: semconv.GenAINames) -> None:
        self._latest = names.latest
        self._duration = self._embeddings = _histogram(meter, names.call_duration)
        if names.embeddings_duration != names.call_duration:
            self._embeddings = _histogram(meter, names.embeddings_duration)
        self._first = _histogram(meter, names.time_to_first_chunk)
        self._between = _histogram(meter, names.time_per_output_chunk)
        self._tools = _histogram(meter, semconv.EXECUTE_TOOL_DURATION)
        self._retrievals = _histogram(meter, semconv.RETRIEVAL_DURATION)
        self._of_a_call = (
            (_some_histogram(meter, names.call_input_tokens), "input"),
            (_some_histogram(meter, names.call_output_tokens), "output"),
        )
        self._of_embeddings = ((_some_histogram(meter, names.embeddings_tokens), "input"),)
        self._sums = (
            (_some_counter(meter, names.input_tokens), "input"),
            (_some_counter(meter, names.output_tokens), "output"),
            (_some_counter(meter, names.cache_read_tokens), "cache_read"),
            (_some_counter(meter, names.cache_write_tokens), "cache_write"),
            (_some_counter(meter, names.reasoning_tokens), "reasoning"),
        )
        self._cost = _some_counter(meter, semconv.CALL_COST)
        self._unpriced = _some_counter(meter, semconv.CALL_UNPRICED)
        self._by_type = _some_histogram(meter, names.token_usage)
        self._models = Names(_MODELS)
        self._tool_names = Names(_TOOLS)
        self._hosts = Names(_HOSTS)
        self._known: dict[tuple[Any, ...], FixedAttributes] = {}

    def ended(
        self,
        call: Call,
        node: Attributes,
        agent: str | None,
        nanoseconds: int,
        error: str | None,
        place: Context,
    ) -> None:
        """Record a call of a task whose attributes are ``node``; ``error``: the name of what went wrong."""
        seconds = nanoseconds * _SECONDS
        if call.operation == "execute_tool":
            self._tools.record(seconds, self._of_tool(call, node, agent, error), place)
            return
        if call.operation == "retrieval":
            about: Attributes = {
                semconv.GEN_AI_OPERATION_NAME: call.operation,
                semconv.GEN_AI_PROVIDER_NAME: call.asked.provider,
            }
            self._retrievals.record(seconds, self._with(node, about, error), place)
            return
        plain = self.of_model(call, node)
        duration = self._embeddings if call.operation == "embeddings" else self._duration
        duration.record(seconds, self._with(plain, {}, error), place)
        if call.time_to_first_chunk is not None:
            self._first.record(call.time_to_first_chunk * _SECONDS, plain, place)
            self.chunks(call, plain, place)
        self._tokens(call, plain, error, place)

    def cost(self, call: Call, node: Attributes, dollars: float | None, place: Context) -> None:
        """Count what a model's call cost; one that was counted and has no price is counted, too."""
        counted = call.answered.usage is not None
        counter = self._unpriced if dollars is None else self._cost
        if counter is not None and counted and call.operation not in ("execute_tool", "retrieval"):
            counter.add(1 if dollars is None else dollars, self.of_model(call, node), place)

    def chunks(self, call: Call, about: Attributes, place: Context) -> None:
        """Record the times between chunks that the call remembers, and let it forget them."""
        gaps = call.take_gaps()
        all_at_once = getattr(self._between, "record_nanoseconds", None)
        if all_at_once is not None:
            all_at_once(gaps, about, place)
            return
        for gap in gaps:
            self._between.record(gap * _SECONDS, about, place)

    def of_model(self, call: Call, node: Attributes) -> FixedAttributes:
        """Return what every measurement of a model's call says."""
        asked, model = call.asked, call.answered.model
        about: Attributes = {
            semconv.GEN_AI_OPERATION_NAME: call.operation,
            semconv.GEN_AI_PROVIDER_NAME: self._hosts(asked.provider or UNKNOWN_PROVIDER),
            semconv.GEN_AI_REQUEST_MODEL: None if asked.name is None else self._models(asked.name),
            semconv.GEN_AI_RESPONSE_MODEL: self._models(model) if model else None,
        }
        if call.answered.service_tier is not None:
            about[semconv.OPENAI_RESPONSE_SERVICE_TIER] = self._hosts(call.answered.service_tier)
        if asked.server_address is not None:
            about[semconv.SERVER_ADDRESS] = self._hosts(asked.server_address)
            about[semconv.SERVER_PORT] = asked.server_port
        return self._with(node, about, None)

    def _of_tool(self, call: Call, node: Attributes, agent: str | None, error: str | None) -> FixedAttributes:
        about: Attributes = {
            semconv.GEN_AI_TOOL_NAME: self._tool_names(call.asked.name or UNKNOWN_PROVIDER),
            semconv.GEN_AI_TOOL_TYPE: call.asked.kind,
            semconv.GEN_AI_AGENT_NAME: agent,
        }
        return self._with(node, about, error)

    def _tokens(self, call: Call, about: Attributes, error: str | None, place: Context) -> None:
        usage, embeds = call.answered.usage, call.operation == "embeddings"
        if usage is None:
            if error is None:
                return
            usage = Usage(input=0, output=0) if self._latest else Usage()
        if self._by_type is not None:
            for kind, count in (("input", usage.input), ("output", usage.output)):
                if count is not None:
                    self._by_type.record(
                        count, self._with(about, {semconv.GEN_AI_TOKEN_TYPE: kind}, None), place
                    )
        for counter, field in () if embeds else self._sums:
            count = getattr(usage, field)
            if counter is not None and count is not None:
                counter.add(count, self._with(about, {semconv.GEN_AI_TOKEN_MODALITY: "unknown"}, None), place)
        for histogram, field in self._of_embeddings if embeds else self._of_a_call:
            count = getattr(usage, field)
            if histogram is not None and count is not None:
                histogram.record(count, self._with(about, {}, error), place)

    def _with(self, about: Attributes, more: Attributes, error: str | None) -> FixedAttributes:
        """Return attributes and ``more`` of them, those that are None left out; the same each time."""
        if not more and error is None and type(about) is FixedAttributes:
            return about
        found: Attributes = {**about, **{name: value for name, value in more.items() if value is not None}}
        if error is not None:
            found[semconv.ERROR_TYPE] = error
        key = tuple(found.items())
        known = self._known.get(key)
        if known is None:
            known = FixedAttributes(found)
            if len(self._known) < _KEPT:
                known = self._known.setdefault(key, known)
        return known


def _histogram(meter: Meter, metric: semconv.Metric) -> Histogram:
    name, unit, description, boundaries = metric
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)


def _some_histogram(meter: Meter, metric: semconv.Metric | None) -> Histogram | None:
    return None if metric is None else _histogram(meter, metric)


def _some_counter(meter: Meter, metric: semconv.Metric | None) -> Counter | None:
    return None if metric is None else meter.create_counter(metric.name, metric.unit, metric.description)
