"""The paper broker: a local server that speaks OANDA's v20 protocol from stored or synthetic candles."""
