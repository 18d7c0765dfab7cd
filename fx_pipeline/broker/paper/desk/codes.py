"""What OANDA says with a reason or an error code."""

INVALID_PARAMETER = "oanda::rest::core::InvalidParameterException"

_TEXTS = {
    "UNITS_LIMIT_EXCEEDED": "The units specified exceeds the maximum number of units allowed",
    "UNITS_PRECISION_EXCEEDED": (
        "The units specified contain more precision than is allowed for the Order's instrument"
    ),
    "UNITS_INVALID": "Order units specified are invalid",
    "UNITS_MISSING": "Order units have not been specified",
    "UNITS_MIMIMUM_NOT_MET": "The units specified are below the minimum number of units allowed",
    "TIME_IN_FORCE_INVALID": "The TimeInForce specified is invalid",
    "PRICE_PRECISION_EXCEEDED": ("The price specified contains more precision than is allowed for the instrument"),
    "INSTRUMENT_MISSING": "The instrument has not been specified",
    "INSTRUMENT_PRICE_UNKNOWN": "There is no price known for the instrument",
    "CLIENT_ORDER_ID_ALREADY_EXISTS": "The client Order ID specified is already assigned to another pending Order",
    "CLIENT_TRADE_ID_ALREADY_EXISTS": "The client Trade ID specified is already assigned to another open Trade",
    "ORDER_DOESNT_EXIST": "The Order specified does not exist",
    "TRADE_DOESNT_EXIST": "The Trade specified does not exist",
    "CLOSEOUT_POSITION_DOESNT_EXIST": "The Position requested to be closed out does not exist",
    "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE": "The units specified exceed the size of the Trade to be closed",
    "NO_SUCH_ORDER": "The order ID specified does not exist",
    "NO_SUCH_TRADE": "The trade ID specified does not exist",
    "NO_SUCH_POSITION": "No position exists for the specified instrument",
    "NO_SUCH_TRANSACTION": "The transaction ID specified does not exist",
}


def message(code: str) -> str:
    """Return the error message of a reason; reasons whose text was never seen get their words in a sentence."""
    return _TEXTS.get(code) or f"The request was rejected: {code.replace('_', ' ').lower()}"
