"""What an import took a file for, in sentences, each with its evidence."""

from pathlib import Path

from fx_pipeline.ingest.clock import Clock
from fx_pipeline.ingest.hours import Stamped, opening_minute
from fx_pipeline.ingest.neighbours import FAR, WILD
from fx_pipeline.ingest.reading import CheckedFile
from fx_pipeline.market.timeframe import M1

Sentences = tuple[str, ...]


def clock_claim(clock: Clock, instrument: str, why: str, found: CheckedFile) -> str:
    """Say which clock a file is on, what says so, and whether its times agree.

    Parameters
    ----------
    why : str
        A clause: by what the clock is known.
    """
    evidence = found.evidence
    if (shown := evidence.daily_break) is not None and shown.right:
        checked = f"checked: on {shown.right} days the daily break ends at 18:00 New York"
    elif evidence.weekends:
        checked = f"checked: no bars in {evidence.weekends} weekend{'s' if evidence.weekends > 1 else ''}"
        if evidence.other_shifts and evidence.weekends:
            shifts = " or ".join(_shift(minutes) for minutes in evidence.other_shifts)
            checked += f", though bars {shifts} would lie in none either"
    elif opening_minute(instrument) is None:
        checked = f"not checkable: {instrument} trades at weekends"
    else:
        checked = "not checkable: no weekend inside"
    return f"clock: {clock.name}, {why}; {checked}"


def stamp_claim(stamped: Stamped, given: bool, found: CheckedFile) -> str:
    """Say whether a file's times are opens or ends of bars, and what says so."""
    what = "opens" if stamped == "open" else "ends"
    stamps = found.evidence.stamps
    if stamps.fits:
        return f"stamped: times are the {what} of bars, {'as given' if given else 'assumed'}; checked: {stamps.fits}"
    doubt = stamps.late or stamps.early
    told = f"against it: {doubt}" if doubt else "nothing in the file tells opens from ends"
    return f"stamped: times are the {what} of bars, {'as given' if given else 'assumed'}; {told}"


def filled_claims(found: CheckedFile) -> Sentences:
    """Say what was left out as filled in, and what cannot be told from it."""
    quiet = found.quiet
    if found.without_tick:
        other = " or at another price" if quiet.only_mute and quiet.mute > quiet.silent else ""
        flat = f"flat at the close before{other}" + (" and without a volume" if quiet.have_volumes else "")
        also = ", or the bar before said again" if quiet.repeats else ""
        also += ", or of prices that stood still for an hour" if quiet.froze else ""
        return (
            f"filled in: {found.without_tick:,} rows left out, {flat}{also}: minutes without a tick have no candle",
        )
    if quiet.still and not quiet.have_volumes and quiet.still > 0.001 * quiet.bars:
        return (
            f"filled in: {quiet.still:,} of {quiet.flat:,} flat bars stand at the close before, in a file without "
            "volumes: they cannot be told from filled-in minutes, and were kept",
        )
    return ()


def spike_claims(found: CheckedFile) -> Sentences:
    """Say how many bars were taken out as spikes."""
    spikes = sum(reason in (FAR, WILD) for reason in found.quarantine["reason"].to_pylist())
    if not spikes:
        return ()
    return (
        f"spikes: {spikes:,} rows to the quarantine: their price jumps away and comes back, bars beside it are calm",
    )


def crossed_claims(found: CheckedFile) -> Sentences:
    """Say how many bars had an ask below the bid, and what became of them."""
    if not found.mended:
        return ()
    return (
        f"crossed: {found.mended:,} of {found.rows:,} rows ({100 * found.mended / found.rows:.1f} percent) have an ask "
        f"below the bid, by at most {found.deepest_pips:.1f} pips: their two sides are not of one moment. Their middle "
        "is kept, bid and ask are modelled, and quotes_modelled says so",
    )


def file_claims(
    instrument: str,
    instrument_why: str,
    side: str,
    side_why: str,
    clock: str,
    stamp: str,
    found: CheckedFile,
    own: Sentences,
) -> Sentences:
    """Put together all that one file was taken for."""
    share = 100 * found.evidence.share_of_steps
    after = "one minute" if found.timeframe == M1 else "one bar"
    costs = "modelled spreads: the file holds one price side" if found.modelled else "bid and ask as quoted in the file"
    return (
        f"instrument: {instrument}, {instrument_why}",
        f"side: {side}, {side_why}",
        clock,
        f"time frame: {found.timeframe} throughout, {share:.1f} percent of bars {after} after the bar before",
        stamp,
        *filled_claims(found),
        *spike_claims(found),
        *crossed_claims(found),
        *([f"weekends: {found.at_weekends:,} rows left out, as asked"] if found.at_weekends else []),
        f"costs: {costs}",
        *own,
    )


def united(files: list[tuple[Path, Sentences]]) -> Sentences:
    """Return the sentences of several files: those that all have once, others with the file's name."""
    if len(files) == 1:
        return files[0][1]
    shared = [sentence for sentence in files[0][1] if all(sentence in said for _, said in files)]
    return (*shared, *(f"{path.name}: {text}" for path, said in files for text in said if text not in shared))


def _shift(minutes: int) -> str:
    hours = abs(minutes) // 60
    return f"{hours} hour{'s' if hours > 1 else ''} {'later' if minutes > 0 else 'earlier'}"
