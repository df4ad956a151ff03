"""Which replies have content, and which length they announce."""

import pytest

from dcf.protocol.content import framing

SIZES = (None, 0, 1, 10_000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("head", [False, True])
def test_a_reply_is_framed_by_its_status_and_method(size, head):
    for status in (*range(100, 200), 204, 304):
        assert framing(status, size, head=head) == (None, False)
    assert framing(205, size, head=head) == (0, False)
    for status in sorted({*range(200, 600)} - {204, 205, 304}):
        assert framing(status, size, head=head) == (size, not head)
