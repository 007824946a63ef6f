import pytest

from edgepriv.errors import UserError
from edgepriv.recipe.written import duration


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("30s", 30), ("2m", 120), ("1h30m", 5400), ("1.5h", 5400), ("90", 90), (5, 5), ("1e3", 1000), (" 2M ", 120)],
)
def test_a_time_is_read(given, seconds):
    assert duration(given) == seconds


@pytest.mark.parametrize("given", ["", "m", "1h30", "5x", "nan", "inf", 0, "-1s", "0h0m", "1 h"])
def test_another_one_is_refused(given):
    with pytest.raises(UserError, match="expected a time above 0, such as 30s, 2m or 1h30m"):
        duration(given)
