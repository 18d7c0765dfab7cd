"""What the published schema leaves out: required fields (from recorded replies) and fields that came after 2018."""

#: Every transaction has these; `requestID` only where a request made it (financing and triggered fills have none).
EVERY_TRANSACTION = "id time userID accountID batchID type"

_ON_FILL_ORDER = "tradeID timeInForce triggerCondition reason"
_ENTRY_ORDER = "instrument units price timeInForce triggerCondition positionFill reason"
_STATE = (
    "unrealizedPL NAV marginUsed marginAvailable positionValue marginCloseoutUnrealizedPL marginCloseoutNAV "
    "marginCloseoutMarginUsed marginCloseoutPercent withdrawalLimit marginCallMarginUsed marginCallPercent"
)
_ACCOUNT = (
    f"{_STATE} id currency balance createdByUserID createdTime pl resettablePL marginRate openTradeCount "
    "openPositionCount pendingOrderCount hedgingEnabled lastTransactionID marginCloseoutPositionValue financing "
    "commission"
)
_TRADE = "id instrument price openTime state initialUnits currentUnits realizedPL financing initialMarginRequired"

REQUIRED = {
    "CreateTransaction": "divisionID siteID accountUserID accountNumber homeCurrency requestID",
    "ClientConfigureTransaction": "requestID",
    "TransferFundsTransaction": "amount fundingReason accountBalance",
    "MarketOrderTransaction": "instrument units timeInForce positionFill reason",
    "MarketOrderRejectTransaction": "reason rejectReason requestID",
    "LimitOrderTransaction": _ENTRY_ORDER,
    "LimitOrderRejectTransaction": "reason rejectReason requestID",
    "StopOrderTransaction": _ENTRY_ORDER,
    "StopOrderRejectTransaction": "reason rejectReason requestID",
    "MarketIfTouchedOrderTransaction": _ENTRY_ORDER,
    "MarketIfTouchedOrderRejectTransaction": "reason rejectReason requestID",
    "TakeProfitOrderTransaction": f"{_ON_FILL_ORDER} price",
    "StopLossOrderTransaction": f"{_ON_FILL_ORDER} price guaranteed",
    "TrailingStopLossOrderTransaction": f"{_ON_FILL_ORDER} distance",
    "TakeProfitOrderRejectTransaction": "reason rejectReason requestID",
    "StopLossOrderRejectTransaction": "reason rejectReason requestID",
    "TrailingStopLossOrderRejectTransaction": "reason rejectReason requestID",
    "OrderFillTransaction": (
        "orderID instrument units price pl financing commission accountBalance gainQuoteHomeConversionFactor "
        "lossQuoteHomeConversionFactor guaranteedExecutionFee halfSpreadCost reason fullPrice requestedUnits quotePL "
        "baseFinancing homeConversionFactors"
    ),
    "OrderCancelTransaction": "orderID reason",
    "OrderCancelRejectTransaction": "rejectReason requestID",
    "OrderClientExtensionsModifyTransaction": "orderID requestID",
    "OrderClientExtensionsModifyRejectTransaction": "rejectReason requestID",
    "TradeClientExtensionsModifyTransaction": "tradeID tradeClientExtensionsModify requestID",
    "TradeClientExtensionsModifyRejectTransaction": "rejectReason requestID",
    "DailyFinancingTransaction": "financing accountBalance positionFinancings",
    "TradeOpen": "price tradeID units guaranteedExecutionFee halfSpreadCost initialMarginRequired",
    "TradeReduce": "price tradeID units realizedPL financing guaranteedExecutionFee halfSpreadCost",
    "PositionFinancing": "instrument financing openTradeFinancings",
    "OpenTradeFinancing": "tradeID financing",
    "FullPrice": "bids asks closeoutBid closeoutAsk",
    "ClientPrice": "type instrument time status tradeable bids asks closeoutBid closeoutAsk",
    "PriceBucket": "price liquidity",
    "PricingHeartbeat": "type time",
    "TransactionHeartbeat": "type time lastTransactionID",
    "UnitsAvailable": "default reduceFirst reduceOnly openOnly",
    "UnitsAvailableDetails": "long short",
    "QuoteHomeConversionFactors": "positiveUnits negativeUnits",
    "HomeConversions": "currency accountGain accountLoss positionValue",
    "Candlestick": "time volume complete",
    "CandlestickData": "o h l c",
    "AccountProperties": "id tags",
    "AccountSummary": _ACCOUNT,
    "Account": f"{_ACCOUNT} trades positions orders",
    "AccountChanges": (
        "ordersCreated ordersCancelled ordersFilled ordersTriggered tradesOpened tradesReduced tradesClosed positions "
        "transactions"
    ),
    "AccountChangesState": f"{_STATE} orders trades positions",
    "CalculatedTradeState": "id unrealizedPL",
    "CalculatedPositionState": "instrument netUnrealizedPL longUnrealizedPL shortUnrealizedPL",
    "DynamicOrderState": "id",
    "Instrument": (
        "name type displayName pipLocation displayPrecision tradeUnitsPrecision minimumTradeSize marginRate "
        "maximumTrailingStopDistance minimumTrailingStopDistance maximumPositionSize maximumOrderUnits tags financing"
    ),
    "MarketOrder": "id createTime state type instrument units timeInForce positionFill",
    "LimitOrder": "id createTime state type instrument units price timeInForce positionFill triggerCondition",
    "StopOrder": "id createTime state type instrument units price timeInForce positionFill triggerCondition",
    "MarketIfTouchedOrder": "id createTime state type instrument units price timeInForce positionFill triggerCondition",
    "TakeProfitOrder": "id createTime state type tradeID price timeInForce triggerCondition",
    "StopLossOrder": "id createTime state type tradeID price timeInForce triggerCondition guaranteed",
    "TrailingStopLossOrder": "id createTime state type tradeID distance timeInForce triggerCondition",
    "Trade": _TRADE,
    "TradeSummary": _TRADE,
    "Position": "instrument pl unrealizedPL resettablePL financing commission guaranteedExecutionFees long short",
    "PositionSide": "units pl unrealizedPL resettablePL financing guaranteedExecutionFees",
}

#: What a refusal repeats as the client said it, whatever that was.
SAID_BY_CLIENT = (
    "orderID tradeID units price priceBound distance gtdTime takeProfitOnFill stopLossOnFill trailingStopLossOnFill "
    "tradeClose marginRate"
)

_DECIMAL = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}
_AMOUNT = {"type": "string", "pattern": r"^-?\d+\.\d{4}$"}
_TEXT = {"type": "string"}
_UNITS_TO_CLOSE = {"type": "string", "pattern": r"^(ALL|NONE|-?\d+(\.\d+)?)$"}
_FACTOR = {"type": "object", "properties": {"factor": _DECIMAL}, "required": ["factor"], "additionalProperties": False}
_FACTORS = {
    "type": "object",
    "properties": {name: _FACTOR for name in "gainQuoteHome lossQuoteHome gainBaseHome lossBaseHome".split()},
    "minProperties": 2,
    "additionalProperties": False,
}
_FINANCING_DAY = {
    "type": "object",
    "properties": {
        "dayOfWeek": {"enum": "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY".split()},
        "daysCharged": {"type": "integer", "minimum": 0},
    },
    "required": ["dayOfWeek", "daysCharged"],
    "additionalProperties": False,
}
_INSTRUMENT_FINANCING = {
    "type": "object",
    "properties": {
        "longRate": _DECIMAL,
        "shortRate": _DECIMAL,
        "financingDaysOfWeek": {"type": "array", "items": _FINANCING_DAY, "minItems": 7, "maxItems": 7},
    },
    "required": ["longRate", "shortRate", "financingDaysOfWeek"],
    "additionalProperties": False,
}
_TAG = {
    "type": "object",
    "properties": {"type": _TEXT, "name": _TEXT},
    "required": ["type", "name"],
    "additionalProperties": False,
}
_FILL_COSTS = {
    "baseFinancing": _DECIMAL,
    "plHomeConversionCost": _DECIMAL,
    "baseFinancingHomeConversionCost": _DECIMAL,
    "guaranteedExecutionFeeHomeConversionCost": _DECIMAL,
    "homeConversionCost": _DECIMAL,
    "quoteGuaranteedExecutionFee": _DECIMAL,
}
_FINANCING_COSTS = {
    "baseFinancing": _DECIMAL,
    "baseHomeConversionCost": _DECIMAL,
    "financingRate": _DECIMAL,
    "financingHomeConversionCost": _DECIMAL,
    "homeConversionCost": _DECIMAL,
    "homeConversionFactors": _FACTORS,
}
_ENTRY_TRANSACTIONS = ("LimitOrder", "StopOrder", "MarketIfTouchedOrder")
_STOPS = ("StopLossOrder", "TrailingStopLossOrder")

#: Fields that OANDA's service sends and the document of 2018 does not know, or knows too loosely.
ADDED = {
    "OrderFillTransaction": {
        "requestedUnits": _DECIMAL, "quotePL": _DECIMAL, "homeConversionFactors": _FACTORS, **_FILL_COSTS,
    },
    "TradeReduce": {
        "quotePL": _DECIMAL, "financingHomeConversionCost": _DECIMAL, **_FILL_COSTS,
    },
    "TradeOpen": {"quoteGuaranteedExecutionFee": _DECIMAL},
    "DailyFinancingTransaction": {"homeConversionCost": _DECIMAL, "baseHomeConversionCost": _DECIMAL},
    "PositionFinancing": {**_FINANCING_COSTS, "accountFinancingMode": {"enum": ["SECOND_BY_SECOND", "DAILY"]}},
    "OpenTradeFinancing": _FINANCING_COSTS,
    "Account": {"trueNAV": _AMOUNT, "trueUnrealizedPL": _AMOUNT, "dividendAdjustment": _AMOUNT},
    "AccountSummary": {"trueNAV": _AMOUNT, "trueUnrealizedPL": _AMOUNT, "dividendAdjustment": _AMOUNT},
    "AccountChangesState": {"trueNAV": _AMOUNT, "trueUnrealizedPL": _AMOUNT, "dividendAdjustment": _AMOUNT},
    "Position": {"dividendAdjustment": _AMOUNT, "trueUnrealizedPL": _AMOUNT},
    "PositionSide": {"dividendAdjustment": _AMOUNT, "trueUnrealizedPL": _AMOUNT},
    "Trade": {"dividendAdjustment": _AMOUNT},
    "TradeSummary": {"dividendAdjustment": _AMOUNT},
    "Instrument": {
        "tags": {"type": "array", "items": _TAG},
        "financing": _INSTRUMENT_FINANCING,
        "guaranteedStopLossOrderMode": {"enum": ["DISABLED", "ALLOWED", "REQUIRED"]},
    },
    "MarketOrderTradeClose": {"units": _UNITS_TO_CLOSE},
    "MarketOrderPositionCloseout": {"units": _UNITS_TO_CLOSE},
    "HomeConversions": {"unrealizedAccountGain": _DECIMAL, "unrealizedAccountLoss": _DECIMAL},
    # Recorded in 2016 and 2019, though the document has no such field.
    **{f"{name}{kind}": {"partialFill": _TEXT} for name in _ENTRY_TRANSACTIONS for kind in
       ("Transaction", "RejectTransaction", "")},
    **{f"{name}{kind}": {"triggerMode": _TEXT} for name in _STOPS for kind in ("Transaction", "RejectTransaction", "")},
}  # fmt: skip

#: Required fields of whole replies, by operation and status; error replies need `errorMessage`.
REPLIES = {
    ("GET", "/instruments/{instrument}/candles", 200): "instrument granularity candles",
    ("GET", "/accounts", 200): "accounts",
    ("GET", "/accounts/{accountID}", 200): "account lastTransactionID",
    ("GET", "/accounts/{accountID}/summary", 200): "account lastTransactionID",
    ("GET", "/accounts/{accountID}/instruments", 200): "instruments lastTransactionID",
    ("GET", "/accounts/{accountID}/changes", 200): "changes state lastTransactionID",
    ("PATCH", "/accounts/{accountID}/configuration", 200): "clientConfigureTransaction lastTransactionID",
    ("GET", "/accounts/{accountID}/pricing", 200): "prices time",
    ("POST", "/accounts/{accountID}/orders", 201): "orderCreateTransaction relatedTransactionIDs lastTransactionID",
    ("PUT", "/accounts/{accountID}/orders/{orderSpecifier}", 201): (
        "orderCancelTransaction orderCreateTransaction relatedTransactionIDs lastTransactionID"
    ),
    ("PUT", "/accounts/{accountID}/orders/{orderSpecifier}/cancel", 200): (
        "orderCancelTransaction relatedTransactionIDs lastTransactionID"
    ),
    ("PUT", "/accounts/{accountID}/orders/{orderSpecifier}/clientExtensions", 200): (
        "orderClientExtensionsModifyTransaction relatedTransactionIDs lastTransactionID"
    ),
    ("GET", "/accounts/{accountID}/orders", 200): "orders lastTransactionID",
    ("GET", "/accounts/{accountID}/pendingOrders", 200): "orders lastTransactionID",
    ("GET", "/accounts/{accountID}/orders/{orderSpecifier}", 200): "order lastTransactionID",
    ("GET", "/accounts/{accountID}/trades", 200): "trades lastTransactionID",
    ("GET", "/accounts/{accountID}/openTrades", 200): "trades lastTransactionID",
    ("GET", "/accounts/{accountID}/trades/{tradeSpecifier}", 200): "trade lastTransactionID",
    ("PUT", "/accounts/{accountID}/trades/{tradeSpecifier}/close", 200): (
        "orderCreateTransaction relatedTransactionIDs lastTransactionID"
    ),
    ("PUT", "/accounts/{accountID}/trades/{tradeSpecifier}/clientExtensions", 200): (
        "tradeClientExtensionsModifyTransaction relatedTransactionIDs lastTransactionID"
    ),
    ("PUT", "/accounts/{accountID}/trades/{tradeSpecifier}/orders", 200): "relatedTransactionIDs lastTransactionID",
    ("GET", "/accounts/{accountID}/positions", 200): "positions lastTransactionID",
    ("GET", "/accounts/{accountID}/openPositions", 200): "positions lastTransactionID",
    ("GET", "/accounts/{accountID}/positions/{instrument}", 200): "position lastTransactionID",
    ("PUT", "/accounts/{accountID}/positions/{instrument}/close", 200): "relatedTransactionIDs lastTransactionID",
    ("GET", "/accounts/{accountID}/transactions", 200): "from to pageSize count pages lastTransactionID",
    ("GET", "/accounts/{accountID}/transactions/{transactionID}", 200): "transaction lastTransactionID",
    ("GET", "/accounts/{accountID}/transactions/idrange", 200): "transactions lastTransactionID",
    ("GET", "/accounts/{accountID}/transactions/sinceid", 200): "transactions lastTransactionID",
}

#: Fields of whole replies that the document forgot, by operation and status.
ADDED_TO_REPLIES = {
    ("PATCH", "/accounts/{accountID}/configuration", 200): "relatedTransactionIDs",
    ("PUT", "/accounts/{accountID}/trades/{tradeSpecifier}/close", 400): "relatedTransactionIDs lastTransactionID",
    ("GET", "/accounts/{accountID}/orders/{orderSpecifier}", 404): "lastTransactionID",
    ("GET", "/accounts/{accountID}/trades/{tradeSpecifier}", 404): "lastTransactionID",
    ("GET", "/accounts/{accountID}/positions/{instrument}", 404): "lastTransactionID",
    ("GET", "/accounts/{accountID}/transactions/{transactionID}", 404): "lastTransactionID",
}
