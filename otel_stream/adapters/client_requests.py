"""Calls of a client that are not streamed, and those that fail before their stream begins.

Clients that are generated from the description of a service send everything through one method, ``request``,
which makes the retries and returns the answer as an object: there a call is known from its start to its end.
What is streamed is told by ``client_streams``.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from time import time_ns
from typing import Any, Final, Protocol, Self

from opentelemetry.context import attach, detach

from otel_stream.adapters.chunks import speaker
from otel_stream.adapters.client_calls import asked_of, question_of, traces_itself
from otel_stream.adapters.others import is_instrumented, is_marked
from otel_stream.calls import Answered, Call, Content, Operation
from otel_stream.config import ConfigError
from otel_stream.events import CallEnded, CallStarted, Event, Task
from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

_TOLD: Final = "told_by_otel_stream"


class Service(Protocol):
    """What is known of a service: which of its requests are calls of a model, and what they answer."""

    @property
    def provider(self) -> str:
        """Who provides the models."""
        ...

    @property
    def paths(self) -> Mapping[str, Operation]:
        """Ends of the paths of such requests, and what they are."""
        ...

    def api(self, url: str) -> str | None:
        """Return which of the service's interfaces is at an address, where it has several."""
        ...

    def answered(self, answer: Any) -> Answered:
        """Return what an answer says of itself."""
        ...

    def content(self, answer: Any) -> Content:
        """Return what was answered."""
        ...


class _Told:
    """One request, from before it is sent until its answer, or its failure, is there."""

    def __init__(
        self, service: Service, client: Any, options: Any, where: tuple[Callable[[Event], None], Task]
    ) -> None:
        self._service = service
        self._emit, self._task = where
        given = (options.json_data, getattr(options, "extra_json", None))
        body = {name: value for one in given if isinstance(one, Mapping) for name, value in one.items()}
        asked = asked_of(service.provider, body, client.base_url, service.api(str(options.url)))
        self.call = call = Call(_operation(service, options) or "chat", asked)
        if call.operation == "chat":
            call.question = lambda: question_of(body)
        told = is_instrumented(service.provider) or is_marked(client) or traces_itself(client)
        call.told_elsewhere = told
        self.started = time_ns()

    def __enter__(self) -> Self:
        self._emit(CallStarted(self._task, self.call, self.started))
        # Current during the request, so that what the client's transport tells is below it.
        self._token = None if self.call.context is None else attach(self.call.context)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            detach(self._token)

    def end(self, answer: Any, error: BaseException | None) -> None:
        """Tell what came of it."""
        call = self.call
        if error is None:
            try:
                answer = _parsed(answer)
                call.answered = self._service.answered(answer)
                if call.operation == "chat":
                    call.answer = functools.partial(self._service.content, answer)
            except Exception as trouble:  # noqa: BLE001 - what is not understood must not break the node
                say(logger, logging.ERROR, "a model's answer is not told: %s", placed(trouble))
        self._emit(CallEnded(self._task, call, error, time_ns()))


class _Streamed(_Told):
    """One whose answer is a stream: that is told by who reads it, so only what fails before is told here."""

    def __enter__(self) -> Self:
        self._token = None
        return self

    def end(self, answer: Any, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            self._emit(CallStarted(self._task, self.call, self.started))
            super().end(answer, error)


def tell_requests(client: Any, service: Service) -> None:
    """Have ``client`` tell nodes' requests of models, once.

    Raises:
        ConfigError: it is no client whose requests can be told.
    """
    request = getattr(client, "request", None)
    if request is None or not hasattr(client, "base_url"):
        raise ConfigError(
            f"tell_calls: {client!r} is no client of {service.provider}; give the client itself"
        )
    if getattr(request, _TOLD, False):
        return
    told = (_told_later if iscoroutinefunction(request) else _told_now)(client, request, service)
    setattr(told, _TOLD, True)
    client.request = told


def _told_now(client: Any, request: Callable[..., Any], service: Service) -> Callable[..., Any]:
    @functools.wraps(request)
    def tell(*args: Any, **kwargs: Any) -> Any:
        told = _begin(client, service, args, kwargs)
        if told is None:
            return request(*args, **kwargs)
        try:
            with told:
                answer = request(*args, **kwargs)
        except BaseException as error:
            told.end(None, error)
            raise
        told.end(answer, None)
        return answer

    return tell


def _told_later(
    client: Any, request: Callable[..., Awaitable[Any]], service: Service
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(request)
    async def tell(*args: Any, **kwargs: Any) -> Any:
        told = _begin(client, service, args, kwargs)
        if told is None:
            return await request(*args, **kwargs)
        try:
            with told:
                answer = await request(*args, **kwargs)
        except BaseException as error:
            told.end(None, error)
            raise
        told.end(answer, None)
        return answer

    return tell


def _begin(client: Any, service: Service, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Told | None:
    """Return what tells of a request; None if it is no call of a model, or nobody wants to know."""
    try:
        options = args[1] if len(args) > 1 else kwargs["options"]
        if _operation(service, options) is None:
            return None
        node = speaker()
        where = None if node is None else node.where()
        kind = _Streamed if kwargs.get("stream") else _Told
        return None if where is None else kind(service, client, options, where)
    except Exception as error:  # noqa: BLE001 - what is not understood must not break the node
        say(logger, logging.ERROR, "a model's call is not told of: %s", placed(error))
        return None


def _operation(service: Service, options: Any) -> Operation | None:
    path = str(options.url).partition("?")[0]
    return next((kind for end, kind in service.paths.items() if path.endswith(end)), None)


def _parsed(answer: Any) -> Any:
    """Return the answer itself, where a raw response was asked for."""
    response = getattr(answer, "http_response", None)
    return answer if response is None else json.loads(response.content)
