"""hive.query: the numbers of pages in a query string."""

import pytest

from hive.errors import BadRequest
from hive.query import INT64, MOST_PER_PAGE, PER_PAGE, window

NO_NUMBERS = [
    "0", "-1", "1.5", "abc", "", "+1", " 1", "1_0", "0x1", "1e1", "\u0661", "\u00b2", "\uff11", "\x00",
    "9" * 5000, "null",
]  # fmt: skip


@pytest.mark.parametrize("name", ["page", "per_page"])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_positive_whole_number_is_refused(name, text):
    with pytest.raises(BadRequest) as caught:
        window({name: text}, "", None)
    assert name in caught.value.detail
    assert len(caught.value.detail) < 100


@pytest.mark.parametrize(
    ("controls", "skip", "size"),
    [
        pytest.param({}, 0, PER_PAGE, id="nothing"),
        pytest.param({"page": "1"}, 0, PER_PAGE, id="the first"),
        pytest.param({"page": "3", "per_page": "7"}, 14, 7, id="another"),
        pytest.param({"page": "003"}, 2 * PER_PAGE, PER_PAGE, id="zeros in front"),
        pytest.param({"per_page": "1000", "page": "2"}, MOST_PER_PAGE, MOST_PER_PAGE, id="a large one"),
    ],
)
def test_a_page_is_a_part_of_the_list(controls, skip, size):
    found = window(controls, "", None)
    assert (found.skip, found.size) == (skip, size)


@pytest.mark.parametrize("page", [7, 10**6, 2**31, 2**62, 2**63 - 1, 10**19 - 1])
def test_no_page_is_too_far_for_mongodb(page):
    found = window({"page": str(page), "per_page": "100"}, "", None)
    assert found.skip + found.size + 1 <= INT64


@pytest.mark.parametrize(
    "controls", [{"page": "1", "after": "x"}, {"after": "x", "before": "x"}, {"per_page": "all", "page": "1"}]
)
def test_a_list_is_asked_for_in_one_way(controls):
    with pytest.raises(BadRequest):
        window(controls, "", None)
