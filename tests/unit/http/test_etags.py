"""hive.preconditions: entity tags, and the headers that name them."""

import re

import pytest

from hive.errors import BadRequest, PreconditionFailed
from hive.preconditions import Precondition, precondition_of, sealed, tag_of

STATE, OTHER = "0123456789abcdef" * 2, "f" * 32
TAG = f'"{STATE}-{"a" * 16}"'


def tells(headers, state=STATE):
    """Whether a request with these headers goes on where the object has this state."""
    try:
        precondition_of(headers).check(state)
    except PreconditionFailed:
        return False
    return True


# Tags


def test_a_tag_is_strong_and_tells_the_state_and_the_representation():
    tag = tag_of(STATE, b"{}")
    assert re.fullmatch(r'"[0-9a-f]{32}-[0-9a-f]{16}"', tag)
    assert tag == tag_of(STATE, b"{}")
    assert len({tag, tag_of(OTHER, b"{}"), tag_of(STATE, b"[]")}) == 3


def test_a_sealed_state_is_another_one_for_each_secret():
    states = [sealed(STATE, None), sealed(STATE, b"one"), sealed(STATE, b"two"), sealed(OTHER, b"one")]
    assert states[0] == STATE
    assert len(set(states)) == 4
    assert {len(state) for state in states} == {32}
    assert sealed(STATE, b"one") == states[1]


# The headers


def test_without_headers_there_is_no_precondition():
    assert not precondition_of({}).is_there
    assert precondition_of({"If-Match": "*"}).is_there
    assert precondition_of({"If-None-Match": "*"}).is_there
    Precondition().check(STATE)


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        pytest.param("{tag}", True, id="the tag"),
        pytest.param('"{state}-other"', True, id="the state in another representation"),
        pytest.param('"{state}-other-gzip"', True, id="the state, compressed"),
        pytest.param('"{state}"', True, id="the state alone"),
        pytest.param("  {tag}  ", True, id="with blanks around it"),
        pytest.param("*", True, id="anything"),
        pytest.param("\t*  ", True, id="anything with blanks around it"),
        pytest.param('"a", {tag} ,"b"', True, id="a list that has it"),
        pytest.param('"a,b",{tag}', True, id="a list of a tag with a comma"),
        pytest.param('"a",W/"b",{tag}', True, id="a list with a weak tag"),
        pytest.param('"\xff", {tag}', True, id="a list of a tag with other bytes"),
        pytest.param('"a", "b"', False, id="a list that does not have it"),
        pytest.param('"*"', False, id="an asterisk that is a tag"),
        pytest.param('"*-a"', False, id="an asterisk as a state"),
        pytest.param('""', False, id="an empty tag"),
        pytest.param('"x{state}-a"', False, id="a longer state"),
        pytest.param("W/{tag}", False, id="a weak tag"),
        pytest.param('W/{tag}, "a"', False, id="a weak tag in a list"),
    ],
)
def test_if_match_holds_where_it_names_the_state(given, holds):
    assert tells({"If-Match": given.format(tag=TAG, state=STATE)}) is holds


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        pytest.param('"a"', True, id="another tag"),
        pytest.param('W/"a", "b"', True, id="other tags"),
        pytest.param('"*"', True, id="an asterisk that is a tag"),
        pytest.param('""', True, id="an empty tag"),
        pytest.param("*", False, id="anything"),
        pytest.param("{tag}", False, id="the tag"),
        pytest.param("W/{tag}", False, id="the tag as a weak one"),
        pytest.param('"a", {tag}', False, id="a list that has it"),
    ],
)
def test_if_none_match_holds_where_it_does_not_name_the_state(given, holds):
    assert tells({"If-None-Match": given.format(tag=TAG)}) is holds


def test_both_headers_must_hold():
    assert tells({"If-Match": TAG, "If-None-Match": '"a"'})
    assert not tells({"If-Match": TAG, "If-None-Match": TAG})
    assert not tells({"If-Match": '"a"', "If-None-Match": '"b"'})


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize(
    "given",
    ["abc", '"abc', 'abc"', '"a" "b"', '"a",', ',"a"', '"a",,"b"', "*, *", '*, "a"', 'w/"a"', "W/a", '"a b"',
     "", "'a'", 'W/ "a"', '"a"b', '"a\n"', "**"],
)  # fmt: skip
def test_what_is_no_list_of_tags_is_refused(header, given):
    with pytest.raises(BadRequest) as caught:
        precondition_of({header: given})
    assert caught.value.detail.startswith(f"{header} must be")


def test_a_header_of_many_tags_is_read_in_one_pass():
    """Long ones; reading that went back for each tag would take minutes."""
    assert tells({"If-Match": ",".join(['"a"'] * 50_000 + [TAG])})
    with pytest.raises(BadRequest):
        precondition_of({"If-Match": '"a" ,' * 50_000 + "x"})
