import pytest

from edgepriv.report import formatting


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.021349, "0.0213"), (4.56, "4.56"), (1234, "1,230"), (0.9996, "1.000"), (-2.5, "-2.50")],
)
def test_significant_digits_never_need_an_exponent(value, shown):
    assert formatting.significant(value) == shown


def test_small_rates_keep_two_decimals():
    assert formatting.rate(0.0012) == "0.12%"
    assert formatting.rate(0.25) == "25.0%"


def test_sizes_are_decimal():
    assert formatting.file_size(150) == "150 B"
    assert formatting.file_size(34_500) == "34.5 kB"
    assert formatting.file_size(2_000_000) == "2.00 MB"


def test_what_is_missing_is_named_not_zero():
    for form in (
        formatting.percent,
        formatting.rate,
        formatting.area,
        formatting.milliseconds,
        formatting.megabytes,
        formatting.file_size,
    ):
        assert form(None) == "not measured"
    assert formatting.with_interval(0.5, None, formatting.area) == "0.500"
    assert formatting.with_interval(0.5, [0.4, 0.6], formatting.area) == "0.500 [0.400, 0.600]"


def test_parameters_are_named_with_their_values_and_not_how_they_were_chosen():
    assert (
        formatting.parameters({"chosen": {"temperature": 2.0, "a": 0.3, "by": "the members found"}})
        == "temperature 2, a 0.3"
    )
    assert formatting.parameters({"chosen": {}}) == formatting.parameters({}) == ""
    assert formatting.parameters({"chosen": {"way": "release 1 alone", "by": "members"}}) == "release 1 alone"


def test_a_radius_says_its_unit_where_inputs_are_not_in_0_to_1():
    assert formatting.budget({"norm": "linf", "eps": 0.05}) == "linf eps 0.05"
    shares = {"norm": "linf", "eps": 0.05, "unit": "of each feature's range"}
    assert formatting.budget(shares) == "linf eps 0.05 of each feature's range"
