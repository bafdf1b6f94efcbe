import pytest

from roomseg.errors import UserError, one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain: as it is", "plain: as it is"),
        ("two\nlines\x1b[31m and colours", "two lines [31m and colours"),
        ("http://ann:hush@host/x and s3://a:b@c", "http://host/x and s3://c"),
        ("mail ann@host stays, http://host/@x too", "mail ann@host stays, http://host/@x too"),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    assert one_line(text) == expected
    assert str(UserError(text)) == expected


def test_a_long_text_keeps_its_start_and_its_end() -> None:
    line = one_line("what it is about " + "x" * 100_000 + " what to do")
    assert len(line) < 2000
    assert line.startswith("what it is about")
    assert line.endswith("what to do")
