"""What should have happened in these nights, and in one line what did."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ml.settings import Settings
from soak.soak_nights import Night


def surprises(nights: Sequence[Night], settings: Settings, drift_from: int) -> list[str]:
    """Whatever is not as it should be, a sentence each; nothing where all is well."""
    found = [f"Night {night.number}: {what}" for night in nights for what in _of_night(night, settings)]
    for before, after in pairwise(nights):
        if after.served_version != before.production_version:
            found.append(
                f"Day {after.number}: version {after.served_version} answered, not {before.production_version}."
            )
    titles = [(night.production_version, title) for night in nights for title in night.alerts]
    found += [f"Told twice: {title}" for version, title in set(titles) if titles.count((version, title)) > 1]
    return found + list(_of_drift(nights, drift_from))


def tell(nights: Sequence[Night], drift_from: int) -> str:
    """One line that says what happened when."""
    events = []
    noticed = _noticed(nights)
    for night in nights:
        if night.number == drift_from:
            events.append(f"night {night.number}: drift begins")
        if night is noticed:
            events.append(f"night {night.number}: drift of {', '.join(night.drifting)} noticed")
        if night.decision is not None:
            is_new = night.decision == "promote"
            outcome = f"version {night.production_version} promoted" if is_new else "challenger kept out"
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
    told = {
        "below the floor": is_low,
        "new images": is_due,
        "In production": night.decision == "promote",
    }
    for title in night.alerts:
        if not any(words in title and is_expected for words, is_expected in told.items()):
            yield f"an alert out of place: {title}"
    if night.decision == "promote" and not any("In production" in title for title in night.alerts):
        yield "a promotion that nobody was told of"
    if is_due and not any("new images" in title for title in night.alerts):
        yield "enough new images, and nobody was told"


def _of_drift(nights: Sequence[Night], drift_from: int) -> Iterator[str]:
    noticed = _noticed(nights)
    if noticed is None:
        yield "Nobody noticed the drift without labels."
    elif noticed.number < drift_from:
        yield f"Night {noticed.number}: drift was noticed before there was any."
    first_low = next((night for night in nights if night.is_below_floor), None)
    if first_low is None:
        yield "The drift never brought the accuracy below the floor."
    elif first_low.number < drift_from:
        yield f"The accuracy fell below the floor in night {first_low.number}, before the drift."
    elif not any("below the floor" in title for title in first_low.alerts):
        yield f"Nobody was told in night {first_low.number} that the accuracy fell below the floor."
    if nights[-1].is_below_floor:
        yield f"The accuracy did not recover: {nights[-1].deciding:.1%} in the end."


def _noticed(nights: Sequence[Night]) -> Night | None:
    """The first night that finds the images moved. That the mix of classes has, is true from the first day: the pool
    that the first model learned from has few eights and nines."""
    return next((night for night in nights if "features" in night.drifting), None)
