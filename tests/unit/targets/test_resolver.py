"""hive.paths: the segments of a path."""

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st

from hive.errors import NotFound
from hive.paths import MOST_SEGMENTS, segments_of
from hive.resource import path_of


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("/", [], id="a slash"),
        pytest.param("/a/b", ["a", "b"], id="two segments"),
        pytest.param("/a/", ["a"], id="a trailing slash"),
        pytest.param("/a%2Fb", ["a/b"], id="an encoded slash"),
        pytest.param("/%C3%A9/\xc3\xa9", ["é", "é"], id="UTF-8, encoded and raw"),
        pytest.param("/%F0%9F%99%82", ["🙂"], id="four bytes"),
        pytest.param("/a+b", ["a+b"], id="a plus sign, which is no blank here"),
        pytest.param("/%20", [" "], id="a blank"),
        pytest.param("/%00%0D%0A", ["\x00\r\n"], id="control characters"),
        pytest.param("/./..", [".", ".."], id="dots"),
        pytest.param("/%2E", ["."], id="an encoded dot"),
        pytest.param("/%", ["%"], id="a percent sign alone"),
        pytest.param("/%4", ["%4"], id="half an escape"),
        pytest.param("/%zz", ["%zz"], id="an escape that is no number"),
        pytest.param("/a%", ["a%"], id="a percent sign at the end"),
        pytest.param("/%u0041", ["%u0041"], id="an escape of another kind"),
        pytest.param("/%2541", ["%41"], id="an escape of an escape"),
        pytest.param("/a" * MOST_SEGMENTS, ["a"] * MOST_SEGMENTS, id="as many as there may be"),
    ],
)
def test_a_path_is_decoded_once_segment_by_segment(path, segments):
    assert segments_of(path) == segments


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("//", id="two slashes"),
        pytest.param("//a", id="an empty segment in front"),
        pytest.param("/a//b", id="an empty segment between"),
        pytest.param("/a//", id="an empty segment at the end"),
        pytest.param("/\xff", id="a byte that is not UTF-8"),
        pytest.param("/%ff", id="an encoded byte that is not UTF-8"),
        pytest.param("/%C3", id="half a character"),
        pytest.param("/\xc3", id="half a character, raw"),
        pytest.param("/%ED%A0%80", id="a surrogate"),
        pytest.param("/%C0%AF", id="a slash that is too long"),
        pytest.param("/\u20ac", id="what no byte is"),
        pytest.param("/a" * (MOST_SEGMENTS + 1), id="one segment too many"),
        pytest.param("/" + "x/" * 2000, id="thousands of segments"),
    ],
)
def test_what_is_no_path_to_anything_is_404(path):
    with pytest.raises(NotFound):
        segments_of(path)


HARD = [
    "test user", "a/b", "$where", "a$b", "100%", "%41", "a+b", "a&b=c", "a?b", "a#b", 'q"q', "q'q", "å",
    "日本", "🙂", "a\\b", "a;b", "<b>", "a:b@c", "{x}", "[x]", "null", "a\tb", "a\nb", "a\r\nSet-Cookie: x=1",
    "\x00", "a\x7fb", "..a", "...", "id", "save", "__class__", "x" * 900, "~", "/", "//", " ", "None", "*",
    "a|b", "^", "`",
]  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_a_name_that_is_hard_to_write_is_encoded_and_found_again(name):
    path = path_of("list", name)
    assert path.isascii()
    assert path.isprintable()
    assert not set(path) & set(' "<>\\^`{|}?#')
    assert segments_of(f"/{path}") == ["list", name]
    assert segments_of(f"/{quote(name, safe='')}") == [name]


@given(st.lists(st.text(min_size=1), max_size=4))
def test_any_names_are_encoded_and_found_again(names):
    assert segments_of(f"/{path_of(*names)}" if names else "") == names
