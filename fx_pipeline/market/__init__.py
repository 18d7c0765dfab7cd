"""The market: instruments, the FX calendar, the candle schema and cost models. Imports no other room."""
