"""Compare the nights with what should have happened, and sum them up in one line."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ml.settings import Settings
from soak.soak_nights import Night


def surprises(nights: Sequence[Night], settings: Settings, drift_from: int) -> list[str]:
    """Return a sentence for each unexpected event; none if everything went as expected."""
    found = [f"Night {night.number}: {what}" for night in nights for what in _of_night(night, settings)]
    for before, after in pairwise(nights):
        if after.served_version != before.production_version:
            found.append(
                f"Day {after.number}: version {after.served_version} answered, not {before.production_version}."
            )
    titles = [(night.production_version, title) for night in nights for title in night.alerts]
    found += [f"Alert sent twice: {title}" for version, title in set(titles) if titles.count((version, title)) > 1]
    return found + list(_of_drift(nights, drift_from))


def tell(nights: Sequence[Night], drift_from: int) -> str:
    """Sum up all events in one line."""
    events = []
    noticed = _noticed(nights)
    for night in nights:
        if night.number == drift_from:
            events.append(f"night {night.number}: drift begins")
        if night is noticed:
            events.append(f"night {night.number}: drift of {', '.join(night.drifting)} noticed")
        if night.decision is not None:
            is_new = night.decision == "promote"
            outcome = f"version {night.production_version} promoted" if is_new else "challenger rejected"
            events.append(f"night {night.number}: {' '.join(night.reasons).rstrip('.')}, {outcome}")
    last = nights[-1]
    ending = f"night {last.number}: version {last.production_version}, anchor {last.anchor:.1%}"
    if last.recent is not None:
        ending += f", recent {last.recent:.1%}"
    sent = sum(len(night.alerts) for night in nights)
    return "; ".join([*events, ending, f"{sent} alerts"]) + "."


def _of_night(night: Night, settings: Settings) -> Iterator[str]:
    is_low = night.is_below_floor
    is_due = night.new_images >= settings.new_images_threshold
    if night.reasons and not (is_low or is_due):
        yield f"retraining without a cause: {night.reasons}"
    if not night.reasons and is_due:
        yield f"{night.new_images} new images, and no retraining"
    expected = {
        "below the floor": is_low,
        "new images": is_due,
        "In production": night.decision == "promote",
    }
    for title in night.alerts:
        if not any(words in title and is_expected for words, is_expected in expected.items()):
            yield f"an unexpected alert: {title}"
    if night.decision == "promote" and not any("In production" in title for title in night.alerts):
        yield "a promotion without an alert"
    if is_due and not any("new images" in title for title in night.alerts):
        yield "enough new images, and no alert"


def _of_drift(nights: Sequence[Night], drift_from: int) -> Iterator[str]:
    noticed = _noticed(nights)
    if noticed is None:
        yield "The check without labels never found the drift."
    elif noticed.number < drift_from:
        yield f"Night {noticed.number}: the check without labels found drift before it began."
    first_low = next((night for night in nights if night.is_below_floor), None)
    if first_low is None:
        yield "The drift never brought the accuracy below the floor."
    elif first_low.number < drift_from:
        yield f"The accuracy fell below the floor in night {first_low.number}, before the drift."
    elif not any("below the floor" in title for title in first_low.alerts):
        yield f"No alert in night {first_low.number}, when the accuracy fell below the floor."
    if nights[-1].is_below_floor:
        yield f"The accuracy did not recover: {nights[-1].deciding:.1%} in the end."


def _noticed(nights: Sequence[Night]) -> Night | None:
    """Return the first night that finds drift of the features; None without one.

    Drift of the classes does not count: it exists from the first day, because the first pool has few eights and nines.
    """
    return next((night for night in nights if "features" in night.drifting), None)
