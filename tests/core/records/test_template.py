"""Trust in format strings from elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchudp_handler.core.records.template import (
    MAX_PADDING,
    MAX_SHAPED,
    SCALARS,
    fallback_text,
    is_portable,
    is_shaped,
    is_trusted,
    padding,
)

PORTABLE = [
    "",
    "plain",
    "100%% of %s",
    "%s %r %a %d %i %u %o %x %X %e %E %f %F %g %G",
    "%-20s|%020d|%+.3f|% d|%#x",
    "%999s",
    "%.999f",
    "%ld %hd %Lf",
    "%%99999999d",
    "%512d%512d",
    "ends in %",
    "% of",
]
NOT_PORTABLE = [
    "%99999999d",
    "%.1000f",
    "%1000s",
    "%0001d",
    "%*d",
    "%.*f",
    "%-*s",
    "%c",
    "%5c",
    "%lc",
    "%(name)s",
    "%(name)99999s",
    "%999s%999s",
    "%%%c",
    "x" * 10 + "%9999999999999s",
]


@pytest.mark.parametrize("template", PORTABLE)
def test_bounded_template_is_portable(template: str) -> None:
    """Flags, and widths and precisions of up to three digits, are fine."""
    assert is_portable(template)


@pytest.mark.parametrize("template", NOT_PORTABLE)
def test_unbounded_or_value_dependent_template_is_not(template: str) -> None:
    """Wide fields, `*`, `%c` and mapping keys are refused, whatever stands before them."""
    assert not is_portable(template)
    assert not is_trusted(template, (int,))


@pytest.mark.parametrize(
    ("template", "types", "trusted"),
    [
        ("%s", (str,), True),
        ("%s", (), False),
        ("%s", (str, int), False),
        ("%d", (int,), True),
        ("%d", (float,), True),
        ("%d", (bool,), True),
        ("%d", (str,), False),
        ("%d", (type(None),), False),
        ("%x", (float,), False),
        ("%f", (int,), True),
        ("%r %s", (type(None), bool), True),
        ("%", (str,), False),
        ("%y", (str,), False),
        ("%s", (list,), False),
        ("%s", (bytes,), False),
    ],
)
def test_trust_depends_on_argument_types(
    template: str, types: tuple[type, ...], trusted: bool
) -> None:
    """A trial rendering decides, and only scalar arguments come into question."""
    assert is_trusted(template, types) is trusted


conversions = st.builds(
    "%{}{}{}{}{}".format,
    st.text("-+ #0", max_size=3),
    st.sampled_from(["", "1", "12", "300", "1000", "*"]),
    st.sampled_from(["", ".", ".0", ".30", ".400", ".*"]),
    st.sampled_from(["", "l", "h", "L"]),
    st.sampled_from("sradiuoxXeEfFgGc%yq("),
)
scalars = st.one_of(
    st.text(max_size=5),
    st.integers(-(10**299), 10**299),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)


@given(
    parts=st.lists(st.one_of(conversions, st.text(max_size=5)), max_size=4),
    args=st.lists(scalars, max_size=4).map(tuple),
)
def test_trusted_template_never_raises_nor_explodes(
    parts: list[str], args: tuple[object, ...]
) -> None:
    """What is trusted for some types prints every value of these types, within bounds."""
    template = "".join(parts)
    if is_trusted(template, tuple(map(type, args))):
        assert len(template % args) <= len(template) + MAX_PADDING + len(args) * 700


SHAPED = {
    "structure": (({"a": 1}, ()), "{'a': 1}", True),
    "another-text": (({"a": 1}, ()), "{'a': 2}", False),
    "text-alone": (("text", ()), "text", False),
    "mapping": (("%(a)s %(b)d", {"a": "x", "b": 5}), "x 5", True),
    "mapping-says-else": (("%(a)s", {"a": "x"}), "y", False),
    "no-template": ((5, {"a": "x"}), "5", False),
    "no-mapping": (("%s", ("x",)), "x", False),
    "empty-mapping": (("text", {}), "text", False),
    "missing": (("%(b)s", {"a": "x"}), "%(b)s {'a': 'x'}", False),
    "no-number": (("%(a)d", {"a": "x"}), "x", False),
    "width": (("%(a)5s", {"a": "x"}), "    x", True),
    "too-wide": (("%(a)1000s", {"a": "x"}), " " * 999 + "x", False),
    "star": (("%(a)*d", {"a": 1}), "1", False),
    "long-template": (
        ("x" * (MAX_SHAPED + 1) + "%(a)s", {"a": "x"}),
        "x" * (MAX_SHAPED + 2),
        False,
    ),
    "longest-template": (
        ("x" * (MAX_SHAPED - 5) + "%(a)s", {"a": "x"}),
        "x" * (MAX_SHAPED - 4),
        True,
    ),
    "grows": (("%(a)s" * 200, {"a": "x" * 10_000}), "x", False),
    "long": (("%(a)s", {"a": "x" * 10_000}), "x" * 10_000, True),
    "cut-by-precision": (("%(a).1s", {"a": "x" * 10_000}), "x", False),
}


@pytest.mark.parametrize("name", SHAPED)
def test_a_shape_prints_exactly_what_it_is_said_to_print(name: str) -> None:
    """It is tried once, within bounds; then it does so in every handler."""
    content, text, shaped = SHAPED[name]
    assert is_shaped(content, text) is shaped


def test_caches_are_bounded() -> None:
    """A peer that makes up templates cannot grow memory."""
    for number in range(5_000):
        is_trusted(f"%s {number}", (str,))
    assert is_trusted.cache_info().currsize <= 4_096
    assert padding.cache_info().currsize <= 4_096


def test_fallback_shows_template_and_arguments() -> None:
    """Nothing is lost of a record whose template does not fit."""
    assert fallback_text("%d of", ("x", 1)) == "%d of ('x', 1)"
    assert bool not in (SCALARS - {bool})
