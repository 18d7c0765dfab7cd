"""Figures as text for people."""


def number(value: float | None, style: str = "number") -> str:
    """Format a figure for reading; a missing one is a dash."""
    if value is None:
        return "\u2013"
    if value == 0 and style == "pips":
        return "0.00 pips"
    match style:
        case "pips":
            return f"{value:+,.2f} pips" if abs(value) < 100 else f"{value:+,.1f} pips"
        case "size":
            return f"{value:,.2f} pips" if abs(value) < 100 else f"{value:,.1f} pips"
        case "percent" if value > 1e4:
            return "above 1,000,000%"
        case "percent":
            return f"{value:.1%}"
        case "probability":
            return "below 0.01%" if 0 <= value < 1e-4 else f"{100 * value:.3g}%"
        case "trades" | "sessions" | "count":
            return f"{value:,.0f}"
        case "number3":
            return f"{value:,.3f}"
        case _:
            return f"{value:,.2f}"
