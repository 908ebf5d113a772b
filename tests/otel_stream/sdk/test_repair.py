"""What OTLP can't say is found before it is exported, however quickly it is looked for."""

from hypothesis import given
from hypothesis import strategies as st

from otel_stream.sdk.export.repair import is_sound, size_of, sound_attributes

#: Surrogates included, which are no Unicode.
texts = st.text(st.characters(exclude_categories=()), max_size=9)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=9), texts)
values = st.one_of(plain, st.lists(plain), st.tuples(texts), st.dictionaries(texts, plain))


@given(st.dictionaries(texts, values))
def test_what_is_sound_at_a_glance_is_sound_in_every_value(attributes):
    if size_of(attributes) is not None:
        assert all(key.encode() is not None and is_sound(value) for key, value in attributes.items())


@given(st.dictionaries(texts, values))
def test_what_leaves_is_sound_and_what_is_sound_leaves_as_it_is(attributes):
    left = sound_attributes(attributes)
    assert all(key.encode() is not None for key in left)
    assert all(value.encode() is not None for value in left.values() if isinstance(value, str))
    if all(key.isascii() and is_sound(value) for key, value in attributes.items()):
        assert left is attributes


def test_the_size_is_about_that_of_the_texts():
    assert size_of({"graph.name": "g" * 1000, "graph.superstep": 7, "ok": True}) in range(1000, 1060)


def test_numbers_of_more_than_64_bits_with_their_sign_take_a_closer_look():
    assert [size_of({"n": number}) is None for number in (2**63 - 1, 2**63, -(2**63), -(2**63) - 1)] == [
        True,
        True,
        False,
        True,
    ]
    assert sound_attributes({"n": 2**63 - 1}) == {"n": 2**63 - 1}
    assert sound_attributes({"n": 2**63}) == {"n": str(2**63)}
