"""How numbers are written: two digits of the error, a dash for what does not exist, and a plain zero."""

from math import inf, nan

import numpy as np
import pytest

from models.report.numbers import measured, number, p_value, percent, plus_minus, share, two_digits, unbroken
from models.scored import Measured


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Measured(0.912804, 0.002542), "0.9128 ± 0.0025"),
        (Measured(131.2, 15.9), "131 ± 16"),
        (Measured(1310.2, 159.0), "1,310 ± 159"),
        (Measured(0.5, nan), "0.5000"),
        (Measured(1.0, 0.0), "1.0000"),
        (Measured(0.25, 1.9e-18), "0.2500"),
        (Measured(1.2e-5, nan), "1.2e-05"),
        (Measured(-0.0, nan), "0.0000"),
        (Measured(-0.0004, 0.012), "0.000 ± 0.012"),
        (Measured(0.5, 0.0996), "0.50 ± 0.10"),
        (Measured(5.0, 9.96), "5 ± 10"),
        (Measured(-0.5, inf), "-0.5000"),
        (Measured(1.23456e-9, 1.2e-11), "0.000000001235 ± 0.000000000012"),
        (Measured(-0.00004, 0.0), "-4e-05"),
    ],
)
def test_the_error_decides_how_many_digits_come_after_the_point(found: Measured, text: str) -> None:
    assert plus_minus(found) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Measured(nan, nan), "—"),
        (Measured(nan, 0.1), "—"),
        (Measured(inf, nan), "∞"),
        (Measured(3.0, 0.5), "3.00 ± 0.50"),
        (Measured(3.0, nan), "3.0000"),
    ],
)
def test_a_measured_number_that_does_not_exist_is_a_dash_and_one_without_bound_its_sign(
    found: Measured, text: str
) -> None:
    assert measured(found) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"), ("", "—"), (nan, "—"), (np.float32("nan"), "—"), (inf, "∞"), (Measured(nan, nan), "—"),
        (True, "yes"), (False, "no"), (np.bool_(True), "yes"),
        (0, "0"), (12345, "12,345"), (np.int64(-1234567), "-1,234,567"), (np.uint8(7), "7"),
        (0.0, "0"), (-0.0, "0"), (0.123456, "0.1235"), (np.float32(0.25), "0.25"), (1e-7, "1e-07"),
        (999.94, "999.9"), (1234.56, "1,235"), (-98765.4, "-98,765"),
        ("pt > 20", "pt > 20"), ("nan", "nan"),
    ],
)  # fmt: skip
def test_a_cell_of_a_table_holds_anything(value: object, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7518, "75.18 %"), (1, "100.00 %"), (np.int64(1), "100.00 %"), (np.float32(0.5), "50.00 %"), (0, "0.00 %"),
        (-0.0, "0.00 %"), (-1e-9, "0.00 %"), (-0.25, "-25.00 %"), (nan, "—"), (inf, "—"), (None, "—"), ("all", "—"),
    ],
)  # fmt: skip
def test_a_fraction_is_written_in_per_cent_if_it_is_one(value: object, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Measured(0.123456, 0.00123), "12.35 ± 0.12"),
        (Measured(1.0, 0.0), "100.0000"),
        (Measured(nan, 0.1), "—"),
        (Measured(inf, 0.1), "—"),
    ],
)
def test_value_and_error_of_a_share_are_both_in_per_cent(found: Measured, text: str) -> None:
    assert share(found) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.012"), (0.0, "—"), (-0.0, "—"), (-1.0, "—"), (nan, "—"), (inf, "—")]
)
def test_a_size_that_is_not_positive_does_not_exist(value: float, text: str) -> None:
    assert two_digits(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.0456, "0.046"), (1e-9, "1e-09"), (1e-300, "below 1e-09"), (0.0, "below 1e-09"), (nan, "—")],
)
def test_of_very_small_p_values_only_the_bound_is_told(value: float, text: str) -> None:
    assert p_value(value) == text


def test_numbers_are_never_parted_from_their_errors_and_units() -> None:
    text = unbroken("AUC = 0.90 ± 0.01 with 10 % (p = 0.3)")
    assert text.replace("\u00a0", "_") == "AUC = 0.90_±_0.01 with 10_% (p_=_0.3)"
