"""Figures as text for people."""

#: Rates and figures beyond these tell of a short record and of nothing else: their digits would be noise.
MAX_RATE = 10.0
MAX_FIGURE = 1e9


def number(value: float | None, style: str = "number") -> str:
    """Format a figure for reading; a missing one is a dash."""
    if value is None:
        return "\u2013"
    if value == 0 and style == "pips":
        return "0.00 pips"
    if style == "percent":
        # CAR25 and its like are kept no higher than the bound itself.
        return "above 1,000%" if value >= MAX_RATE else "below -1,000%" if value <= -MAX_RATE else f"{value:.1%}"
    if abs(value) >= MAX_FIGURE:
        return f"{value:+.2g} pips" if style == "pips" else f"{value:.2g}{' pips' if style == 'size' else ''}"
    match style:
        case "pips":
            return f"{value:+,.2f} pips" if abs(value) < 100 else f"{value:+,.1f} pips"
        case "size":
            return f"{value:,.2f} pips" if abs(value) < 100 else f"{value:,.1f} pips"
        case "probability":
            return "below 0.01%" if 0 <= value < 1e-4 else f"{100 * value:.3g}%"
        case "trades" | "sessions" | "count":
            return f"{value:,.0f}"
        case "number3":
            return f"{value:,.3f}"
        case _:
            return f"{value:,.2f}"
