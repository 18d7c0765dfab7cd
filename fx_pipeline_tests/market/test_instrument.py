import pytest

from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.market.instrument import instrument, known_instruments


@pytest.mark.parametrize(
    ("name", "pip", "precision"),
    [
        ("GBP_JPY", 0.01, 3),
        ("USD_JPY", 0.01, 3),
        ("EUR_USD", 0.0001, 5),
        ("USD_HUF", 0.01, 3),
        ("XAU_USD", 0.01, 3),
        ("HKD_JPY", 0.0001, 5),
        ("ZAR_JPY", 0.01, 3),
        ("TRY_JPY", 0.01, 3),
        ("BTC_USD", 1.0, 1),
    ],
)
def test_pip_and_precision(name: str, pip: float, precision: int) -> None:
    found = instrument(name)
    assert found.pip == pip
    assert found.display_precision == precision
    assert f"{found.base}_{found.quote}" == name


@pytest.mark.parametrize(
    ("name", "kind", "decimals"),
    [("GBP_JPY", "currency", 0), ("XAU_USD", "metal", 0), ("XAG_USD", "metal", 0), ("BTC_USD", "crypto", 2)],
)
def test_what_is_traded_and_in_which_units(name: str, kind: str, decimals: int) -> None:
    assert (instrument(name).kind, instrument(name).units_precision) == (kind, decimals)


@pytest.mark.parametrize("name", ["GBPJPY", "gbp_jpy", "GBP/JPY", "GBP-JPY", "GBP_JPX"])
def test_a_near_miss_offers_the_right_name(name: str) -> None:
    with pytest.raises(DataError, match=r"did you mean.*GBP_JPY"):
        instrument(name)


def test_a_far_miss_says_what_names_look_like() -> None:
    with pytest.raises(FxPipelineError, match="names look like GBP_JPY"):
        instrument("??")


def test_every_known_name_builds_and_is_listed_once() -> None:
    names = known_instruments()
    assert len(set(names)) == len(names) and list(names) == sorted(names)
    for name in names:
        assert instrument(name).pip == pytest.approx(10.0 ** instrument(name).pip_location, rel=0)
