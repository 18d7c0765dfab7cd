"""Which request each recorded reply answers."""

_A = "/accounts/000-000-0000000-000"

#: Recording -> (method, path below /v3, status).
REQUESTS = {
    "instrument/candles": ("GET", "/instruments/GBP_USD/candles", 200),
    "instrument/orderBook": ("GET", "/instruments/EUR_USD/orderBook", 200),
    "instrument/positionBook": ("GET", "/instruments/EUR_USD/positionBook", 200),
    "order/cancel_order": ("PUT", f"{_A}/orders/2/cancel", 200),
    "order/client_extensions": ("PUT", f"{_A}/orders/1078/clientExtensions", 200),
    "order/error/market_halted": ("POST", f"{_A}/orders", 201),
    "order/error/order_rejected": ("POST", f"{_A}/orders", 400),
    "order/market_if_touched_order": ("POST", f"{_A}/orders", 201),
    "order/market_order": ("POST", f"{_A}/orders", 201),
    "order/order": ("GET", f"{_A}/orders/1", 200),
    "order/orders": ("GET", f"{_A}/orders", 200),
    "order/pending_orders": ("GET", f"{_A}/pendingOrders", 200),
    "order/replace": ("PUT", f"{_A}/orders/1076", 201),
    "order/stop_loss_order": ("POST", f"{_A}/orders", 201),
    "pricing/pricing": ("GET", f"{_A}/pricing", 200),
    "transaction/idrange": ("GET", f"{_A}/transactions/idrange", 200),
    "transaction/sinceid": ("GET", f"{_A}/transactions/sinceid", 200),
    "transaction/transaction": ("GET", f"{_A}/transactions/1", 200),
    "transaction/transaction_pages": ("GET", f"{_A}/transactions", 200),
}

#: Where a recording departs from the strict schema, and why that is not the schema's fault.
EXCEPTIONS = {
    # Recorded in 2017, before fills had these fields; the service of 2026 has them.
    "order/market_order": {
        f"orderFillTransaction: {name!r} is a required property"
        for name in ("requestedUnits", "quotePL", "baseFinancing", "homeConversionFactors")
    },
}
#: The books are recorded with whole seconds and a `unixTime` of their own; the paper broker does not serve them.
NOT_SERVED = {"instrument/orderBook", "instrument/positionBook"}
