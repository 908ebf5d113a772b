"""A call as attributes of OpenTelemetry's GenAI conventions, in the vocabulary that is in force."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind

from otel_stream import semconv
from otel_stream.calls import Call, Usage
from otel_stream.encoding import clean
from otel_stream.semconv import GenAINames
from otel_stream.telemetry.scope import Attributes, Tally

#: Who provides a model that does not say so: the attribute is required.
UNKNOWN_PROVIDER: Final = "_OTHER"
#: Longest description of a tool, in characters.
_LONGEST: Final = 1024

#: Fields of what a model is asked, and their attributes; those that are None, or empty, are left out.
_ASKED: Final = (
    ("temperature", semconv.GEN_AI_REQUEST_TEMPERATURE),
    ("top_p", semconv.GEN_AI_REQUEST_TOP_P),
    ("max_tokens", semconv.GEN_AI_REQUEST_MAX_TOKENS),
    ("frequency_penalty", semconv.GEN_AI_REQUEST_FREQUENCY_PENALTY),
    ("presence_penalty", semconv.GEN_AI_REQUEST_PRESENCE_PENALTY),
    ("seed", semconv.GEN_AI_REQUEST_SEED),
    ("stop_sequences", semconv.GEN_AI_REQUEST_STOP_SEQUENCES),
    ("output_type", semconv.GEN_AI_OUTPUT_TYPE),
    ("api", semconv.OPENAI_API_TYPE),
    ("dimensions", semconv.GEN_AI_EMBEDDINGS_DIMENSION_COUNT),
    ("encodings", semconv.GEN_AI_REQUEST_ENCODING_FORMATS),
)
#: Those that only the newer conventions name.
_ASKED_SINCE: Final = (
    ("reasoning_level", semconv.GEN_AI_REQUEST_REASONING_LEVEL),
    ("previous_response", semconv.GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID),
)
#: The same of what it answers.
_ANSWERED: Final = (
    ("id", semconv.GEN_AI_RESPONSE_ID),
    ("model", semconv.GEN_AI_RESPONSE_MODEL),
    ("finish_reasons", semconv.GEN_AI_RESPONSE_FINISH_REASONS),
    ("service_tier", semconv.OPENAI_RESPONSE_SERVICE_TIER),
    ("fingerprint", semconv.OPENAI_RESPONSE_SYSTEM_FINGERPRINT),
    ("dimensions", semconv.GEN_AI_EMBEDDINGS_DIMENSION_COUNT),
)
#: What OpenAI calls the tier of a request that names none.
_ANY_TIER: Final = "auto"


def name_of(call: Call, names: GenAINames) -> str:
    """Return the name of a call's span."""
    name = call.asked.name
    alone = name is None or (names.latest and call.operation == "retrieval")
    return call.operation if alone else f"{call.operation} {clean(str(name))}"


def kind_of(call: Call, names: GenAINames) -> SpanKind:
    """Return the kind of a call's span."""
    inside = call.operation == "execute_tool" or (names.latest and call.operation == "retrieval")
    return SpanKind.INTERNAL if inside else SpanKind.CLIENT


def at_start(call: Call, names: GenAINames) -> Attributes:
    """Return what is known of a call before it is made."""
    attributes: Attributes = {semconv.GEN_AI_OPERATION_NAME: call.operation}
    if call.operation == "execute_tool":
        _tool(call, attributes)
    elif call.operation == "retrieval":
        _retrieval(call, attributes)
    else:
        _model(call, names, attributes)
    return attributes


def _model(call: Call, names: GenAINames, attributes: Attributes) -> None:
    asked = call.asked
    attributes[semconv.GEN_AI_PROVIDER_NAME] = asked.provider or UNKNOWN_PROVIDER
    if asked.name is not None:
        attributes[semconv.GEN_AI_REQUEST_MODEL] = clean(asked.name)
    if asked.server_address is not None:
        attributes[semconv.SERVER_ADDRESS] = asked.server_address
        if asked.server_port is not None:
            attributes[semconv.SERVER_PORT] = asked.server_port
    for field, name in _ASKED + (_ASKED_SINCE if names.latest else ()):
        value = getattr(asked, field)
        if value is not None and value != ():
            attributes[name] = clean(value) if isinstance(value, str) else value
    if asked.service_tier is not None and asked.service_tier != _ANY_TIER:
        attributes[semconv.OPENAI_REQUEST_SERVICE_TIER] = clean(asked.service_tier)
    if asked.top_k is not None:
        attributes[semconv.GEN_AI_REQUEST_TOP_K] = int(asked.top_k) if names.latest else asked.top_k
    if asked.choice_count is not None and asked.choice_count != 1:
        attributes[semconv.GEN_AI_REQUEST_CHOICE_COUNT] = asked.choice_count


def _tool(call: Call, attributes: Attributes) -> None:
    asked = call.asked
    attributes[semconv.GEN_AI_TOOL_NAME] = clean(asked.name or UNKNOWN_PROVIDER)
    if asked.call_id is not None:
        attributes[semconv.GEN_AI_TOOL_CALL_ID] = clean(asked.call_id)
    if asked.kind is not None:
        attributes[semconv.GEN_AI_TOOL_TYPE] = asked.kind
    if asked.description:
        attributes[semconv.GEN_AI_TOOL_DESCRIPTION] = clean(asked.description[:_LONGEST])


def _retrieval(call: Call, attributes: Attributes) -> None:
    asked = call.asked
    found = (
        (semconv.GEN_AI_PROVIDER_NAME, asked.provider),
        (semconv.GEN_AI_DATA_SOURCE_ID, asked.name),
        (semconv.GEN_AI_REQUEST_MODEL, asked.model),
    )
    attributes.update((name, clean(value)) for name, value in found if value is not None)


def at_end(call: Call, names: GenAINames) -> Attributes:
    """Return what came of a call, its content and its failure excepted."""
    attributes: Attributes = {}
    if call.operation in ("execute_tool", "retrieval"):
        return attributes
    answered = call.answered
    for field, name in _ANSWERED:
        value = getattr(answered, field)
        if value:
            attributes[name] = clean(value) if isinstance(value, str) else value
    if call.time_to_first_chunk is not None:
        attributes[semconv.GEN_AI_REQUEST_STREAM] = True
        attributes[semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = call.time_to_first_chunk * 1e-9
    if answered.usage is not None:
        attributes.update(of_usage(answered.usage, names))
    return attributes


def of_usage(usage: Usage, names: GenAINames) -> Attributes:
    """Return counts of tokens: the totals as they are, parts of them if there are any."""
    totals = (
        (semconv.GEN_AI_USAGE_INPUT_TOKENS, usage.input),
        (semconv.GEN_AI_USAGE_OUTPUT_TOKENS, usage.output),
    )
    parts = (
        (semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cache_read),
        (names.cache_write, usage.cache_write),
        (semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning),
    )
    found: Attributes = {name: count for name, count in totals if count is not None}
    found.update((name, count) for name, count in parts if count)
    return found


def of_tally(tally: Tally, names: GenAINames) -> Attributes:
    """Return what the calls of an agent add up to; since 0.1.0 without who provides its models."""
    found: Attributes = {}
    if not names.latest:
        one = next(iter(tally.providers)) if len(tally.providers) == 1 else UNKNOWN_PROVIDER
        found[semconv.GEN_AI_PROVIDER_NAME] = one
    if len(tally.models) == 1:
        found[semconv.GEN_AI_REQUEST_MODEL] = clean(next(iter(tally.models)))
    if tally.finish_reasons:
        found[semconv.GEN_AI_RESPONSE_FINISH_REASONS] = tally.finish_reasons
    usage = tally.usage
    if usage is not None:
        caches = (None, None) if names.latest else (usage.cache_read, usage.cache_write)
        shown = Usage(input=usage.input, output=usage.output, cache_read=caches[0], cache_write=caches[1])
        found.update(of_usage(shown, names))  # of an agent neither version names the reasoning
    return found
