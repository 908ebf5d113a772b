"""What must not leave the process: masked by path, by pattern or by a function, and cut by length.

Redaction sees values as JSON knows them: a message is the mapping of its fields. It works on what is
exported alone; receivers in the process are shown everything.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import logging
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, TypeAlias

from otel_stream.encoding import Encoding, decode, encode, joined, tiny
from otel_stream.trouble import placed

MASK: Final = "[redacted]"
FAILED: Final = "[redaction failed]"
#: The one key of what stands for a value that was cut.
CUT: Final = "$cut"

#: From the outside in: keys, and indices of lists as decimal digits.
Path: TypeAlias = tuple[str, ...]
#: Takes the path, joined by dots, and a text, a number or a truth value; returns what to export instead.
Call: TypeAlias = Callable[[str, Any], Any]

_logger = logging.getLogger(__name__)


class Redaction:
    """The rules. Immutable but for ``failures``; may be shared by threads.

    Args:
        paths: globs of dotted paths, such as ``"user.email"`` or ``"messages.*.content"``. What a path
            names is masked as a whole, wherever the path begins: ``"email"`` means any ``email``.
        patterns: regular expressions; what they match in a text or in a key is masked.
        call: called as ``call(path, value)`` for every text, number and truth value that is left;
            returns what to export instead. If it raises, the value is withheld, and counted.
        hashed: globs of paths, as ``paths``: what they name is replaced by a hash instead of a mask, the same
            for the same value, so that what belongs together can still be found together.
        key: what the hashes are keyed with. Without one, who guesses a value can see that it is the one.
        max_value_bytes: longest text, in bytes of UTF-8; a longer one is cut, and its length and
            SHA-256 are told.

    Raises:
        ValueError: a path or a pattern that cannot be used; names it, and the remedy.
    """

    def __init__(
        self,
        paths: str | Iterable[str] = (),
        patterns: str | Iterable[str] = (),
        call: Call | None = None,
        *,
        hashed: str | Iterable[str] = (),
        key: str = "",
        max_value_bytes: int | None = None,
    ) -> None:
        if max_value_bytes is not None and max_value_bytes < 1:
            raise ValueError(
                f"max_value_bytes={max_value_bytes!r} is no size: give a number of bytes, 1 or more."
            )
        if call is not None and not callable(call):
            raise ValueError(f"redaction by {call!r} is impossible: give a function of a path and a value.")
        self._paths = [_compiled_path(path) for path in _listed(paths)]
        self._patterns = [_compiled(pattern) for pattern in _listed(patterns)]
        self._hashed = [_compiled_path(path) for path in _listed(hashed)]
        self.key = key
        self._call = call
        self._max = max_value_bytes
        #: How often ``call`` raised.
        self.failures = 0

    def extended(
        self,
        paths: Iterable[str] = (),
        patterns: Iterable[str] = (),
        *,
        hashed: Iterable[str] = (),
        key: str = "",
    ) -> Redaction:
        """Return these rules and more; ``key`` wins if there is one.

        Raises:
            ValueError: as when they are made.
        """
        more = Redaction(
            paths,
            patterns,
            self._call,
            hashed=hashed,
            key=key or self.key,
            max_value_bytes=self._max,
        )
        more._paths += self._paths
        more._hashed += self._hashed
        more._patterns += self._patterns
        return more

    @property
    def opens(self) -> bool:
        """Whether mappings may be exported key by key: a pattern could mask a part of a key."""
        return not self._patterns

    def hides(self, path: Path) -> bool:
        """Tell whether a path glob names exactly what is at ``path``."""
        return _names(self._paths, path) or _names(self._hashed, path)

    def hidden(self, value: Any, path: Path) -> str:
        """Return what stands for a value that a path names: a mask, or its hash."""
        if _names(self._paths, path):
            return MASK
        return keyed_hash(value if isinstance(value, str) else encode(value).decode(), self.key)

    def keeps(self, keys: Iterable[str]) -> bool:
        """Tell whether all ``keys`` leave as they are."""
        return self.opens or all(self.masked(key) == key for key in keys)

    def text(self, text: str, *path: str) -> str:
        """Return ``text`` as it may leave the process: an exception's, a tag, a value of metadata.

        ``path`` is where rules may find it, for instance ``"exception", "message"``. Never raises.
        """
        shown = self.data(text, path)
        if isinstance(shown, str):
            return shown
        cut = shown.get(CUT) if isinstance(shown, dict) else None
        if cut is None:
            return encode(shown).decode()
        return f"{cut['head']}… ({cut['bytes']} bytes, sha256 {cut['sha256']})"

    def data(self, value: Any, path: Path = ()) -> Any:
        """Return ``value`` in terms of JSON as it may leave the process. Never raises."""
        return self.counted(value, path)[0]

    def counted(self, value: Any, path: Path = (), json: Callable[[Any], bytes] = encode) -> tuple[Any, int]:
        """Return the same as ``data``, and how many values were masked or withheld."""
        walk = _Walk(self)
        if any(self.hides(path[:length]) for length in range(1, len(path))):
            # It is a part of something that is masked as a whole.
            return MASK, 1
        try:
            return walk.shown(decode(json(value)), path), walk.count
        except RecursionError:
            self.failed("it is nested too deeply")
            return FAILED, 1

    def failed(self, why: str) -> None:
        """Count a value that had to be withheld; the first one is reported, without its path: it is data."""
        self.failures += 1
        if self.failures == 1:
            _logger.error("Redaction failed (%s): what it fails for is withheld.", why)

    # -- for the walk -------------------------------------------------------------------------

    def masked(self, text: str) -> str:
        """Return ``text`` with a mask in place of whatever a pattern matches."""
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        inside = _from_base64(text) if self._patterns else ""
        if inside and any(pattern.search(inside) for pattern in self._patterns):
            return MASK
        return text

    def split_over(self, items: list[Any]) -> set[int]:
        """Return the places of blocks of text, such as a message's, that a pattern matches only together."""
        found: set[int] = set()
        if self.opens:
            return found
        texts = [_text_of(item) for item in items]
        ends = list(accumulate(map(len, texts)))
        whole = "".join(texts)
        for match in (match for pattern in self._patterns for match in pattern.finditer(whole)):
            first, last = bisect_right(ends, match.start()), bisect_left(ends, match.end())
            if first < last:
                found.update(index for index in range(first, last + 1) if texts[index])
        return found

    def called(self, value: Any, path: Path) -> Any:
        """Return what the function makes of ``value``."""
        if self._call is None:
            return value
        try:
            # Once more through JSON: a function may return anything.
            return decode(encode(self._call(".".join(path), value)))
        except Exception as error:  # noqa: BLE001 - a function of the user's; the text may quote the value
            self.failed(placed(error))
            return FAILED

    def cut(self, value: Any) -> Any:
        """Return ``value``, or what stands for it if it is a text that is too long."""
        if self._max is None or not isinstance(value, str) or len(value) * 4 <= self._max:
            return value
        whole = value.encode(errors="replace")
        if len(whole) <= self._max:
            return value
        head = whole[: self._max].decode(errors="ignore")
        return {CUT: {"head": head, "bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}}


class _Walk:
    """One pass through one value."""

    __slots__ = ("_rules", "count")

    def __init__(self, rules: Redaction) -> None:
        self._rules = rules
        self.count = 0

    def shown(self, value: Any, path: Path) -> Any:
        if path and self._rules.hides(path):
            self.count += 1
            return self._rules.hidden(value, path)
        if isinstance(value, dict):
            return {self._key(key): self.shown(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return self._items(value, path)
        return value if value is None else self._leaf(value, path)

    def _items(self, items: list[Any], path: Path) -> list[Any]:
        shown = [self.shown(item, (*path, str(index))) for index, item in enumerate(items)]
        for index in self._rules.split_over(items):
            if isinstance(shown[index], dict):  # else it is hidden as a whole
                shown[index] = {**shown[index], "text": MASK}
                self.count += 1
        return shown

    def _key(self, key: str) -> str:
        shown = self._rules.masked(key)
        self.count += shown != key
        return shown

    def _leaf(self, value: Any, path: Path) -> Any:
        rules = self._rules
        shown = rules.masked(value) if isinstance(value, str) else self._number(value)
        shown = rules.called(shown, path)
        if shown is not value and shown != value:
            self.count += 1
        return rules.cut(shown)

    def _number(self, value: Any) -> Any:
        if self._rules.opens:  # no patterns
            return value
        text = encode(value).decode()
        shown = self._rules.masked(text)
        return value if shown == text else shown


class Writer:
    """Makes JSON of what is exported at a time, under the rules of ``redaction`` if there is one.

    It keeps one account: what repeats among the values that it is given is not shown without end.
    """

    __slots__ = ("_account", "_rules", "count", "plain")

    def __init__(self, redaction: Redaction | None = None) -> None:
        self._rules = redaction
        self._account: Encoding | None = None
        #: Whether JSON is all it makes of a value.
        self.plain = redaction is None
        #: How many values were masked or withheld.
        self.count = 0

    def text(self, value: Any, path: Path) -> bytes:
        """Return the JSON of ``value``, which is at ``path``."""
        if self._rules is None:
            return self.json(value)
        shown, count = self._rules.counted(value, path, self.json)
        self.count += count
        return joined(shown)

    def json(self, value: Any) -> bytes:
        """Return the JSON of ``value`` as it is."""
        text = tiny(value)
        return self._opened().text(value) if text is None else text

    def is_new(self, value: Any) -> bool:
        """Tell whether nothing was shown of ``value`` yet; from now on something is."""
        return self._opened().is_new(value)

    def restart(self) -> None:
        """Forget what was written: it is not exported, something else is."""
        self._account = None
        self.count = 0

    def _opened(self) -> Encoding:
        if self._account is None:
            self._account = Encoding()
        return self._account

    def opens(self, path: Path) -> bool:
        """Tell whether the value at ``path`` may be exported part by part."""
        rules = self._rules
        return rules is None or ((rules.opens or not path) and not rules.hides(path))

    def keeps(self, keys: Iterable[str]) -> bool:
        """Tell whether all ``keys`` of a mapping leave as they are."""
        return self._rules is None or self._rules.keeps(keys)


def keyed_hash(text: str, key: str) -> str:
    """Return a name for ``text`` that does not tell what it is."""
    digest = hmac.new(key.encode(errors="replace"), text.encode(errors="replace"), hashlib.sha256)
    return f"hash:{digest.hexdigest()[:32]}"


def _names(rules: Iterable[tuple[Callable[[str], Any], ...]], path: Path) -> bool:
    if not rules:
        return False
    if any("." in name for name in path):  # a key with dots is named as the path that it looks like
        path = tuple(part for name in path for part in name.split("."))
    return any(
        len(path) >= len(globs) and all(map(_matches, globs, path[len(path) - len(globs) :]))
        for globs in rules
    )


def _text_of(block: Any) -> str:
    text = block.get("text") if isinstance(block, dict) else None
    return text if isinstance(text, str) else ""


_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")


def _from_base64(text: str) -> str:
    """Return the text that ``text`` is the base64 of, as bytes are shown in JSON; "" if it is none."""
    if not _BASE64.fullmatch(text):
        return ""
    try:
        whole = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if "-" in text else None)
    except ValueError:
        return ""
    return whole.decode(errors="replace")


def shown_tags(tags: Sequence[Any], redaction: Redaction | None) -> tuple[str, ...]:
    """Return tags as they may leave the process; rules find the first of them at ``tags.0``."""
    texts = [str(tag) for tag in tags]
    if redaction is None:
        return tuple(texts)
    return tuple(redaction.text(text, "tags", str(index)) for index, text in enumerate(texts))


def _listed(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _compiled_path(path: object) -> tuple[Callable[[str], Any], ...]:
    if not isinstance(path, str) or not all(path.split(".")):
        raise ValueError(
            f"{path!r} is no path to redact: give names or globs joined by dots, like 'user.email'."
        )
    return tuple(re.compile(fnmatch.translate(glob)).match for glob in path.split("."))


def _compiled(pattern: object) -> re.Pattern[str]:
    if isinstance(pattern, re.Pattern):
        return pattern
    try:
        return re.compile(pattern)  # type: ignore[call-overload, no-any-return]
    except (re.error, TypeError) as error:
        raise ValueError(
            f"{pattern!r} is no pattern to redact by ({error}): give a regular expression."
        ) from None


def _matches(glob: Callable[[str], Any], name: str) -> bool:
    return glob(name) is not None
