"""A card as text for a terminal, and as plain data."""

from collections import Counter
from collections.abc import Iterator

from mcr_bench.bench.testing.card import Checked, State

FOLDED = 3  # so many properties with one reason take one line
MARKS: dict[State, str] = {"passed": "ok", "failed": "FAIL", "not applicable": "-"}


def card_data(card: Checked) -> dict[str, object]:
    """A card as plain data."""
    properties = [
        {"name": one.property, "state": one.state, "promise": one.promise, "reason": one.reason}
        | ({"hint": one.hint} if one.state == "failed" else {})
        | {"seconds": round(one.seconds, 3)}
        for one in card.outcomes
    ]
    head: dict[str, object] = {"subject": card.subject, "kind": card.kind, "holds": card.holds}
    return {**head, "properties": properties, "notes": dict(card.notes)}


def _rows(card: Checked) -> Iterator[tuple[State, str, str]]:
    """State, name and text of every line; the last ones name together what does not apply for one reason."""
    reasons = Counter(one.reason for one in card.outcomes if one.state == "not applicable")
    folded = {reason: count for reason, count in reasons.items() if count >= FOLDED}
    for one in card.outcomes:
        if one.state != "not applicable":
            yield one.state, one.property, one.promise
        elif one.reason not in folded:
            yield one.state, one.property, one.reason
    for reason, count in folded.items():
        names = ", ".join(one.property for one in card.outcomes if one.reason == reason)
        yield "not applicable", f"{count} others", f"{reason}: {names}"


def card_text(card: Checked) -> str:
    """A card as text for a terminal: what fails comes last, with reason and hint.

    Where more than two properties do not apply for the same reason, one line names them.
    """
    states = Counter(one.state for one in card.outcomes)
    rows = list(_rows(card))
    wide = max(len(name) for _, name, _ in rows)
    lines = [f"{card.subject} ({card.kind})"]
    lines += [f"  {MARKS[state]:4}  {name:{wide}}  {told}" for state, name, told in rows]
    lines += [f"{name}: {text}" for name, text in card.notes]
    for one in card.outcomes:
        if one.state == "failed":
            lines += ["", f"{one.property} does not hold: {one.promise}.", f"  reason: {one.reason}"]
            lines += [f"  hint: {one.hint}"] if one.hint else []
    others = f", {states['not applicable']} do not apply" if states["not applicable"] else ""
    return "\n".join([*lines, "", f"{states['passed']} hold, {states['failed']} do not{others}."])
