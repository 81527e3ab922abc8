"""A card as text for a terminal, and as plain data."""

from collections import Counter

from mcr_bench.bench.testing.card import Checked, State

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


def card_text(card: Checked) -> str:
    """A card as text for a terminal: what fails comes last, with reason and hint."""
    states = Counter(one.state for one in card.outcomes)
    wide = max(len(one.property) for one in card.outcomes)
    lines = [f"{card.subject} ({card.kind})"]
    for one in card.outcomes:
        told = one.promise if one.state != "not applicable" else one.reason
        lines.append(f"  {MARKS[one.state]:4}  {one.property:{wide}}  {told}")
    lines += [f"{name}: {text}" for name, text in card.notes]
    for one in card.outcomes:
        if one.state == "failed":
            lines += ["", f"{one.property} does not hold: {one.promise}.", f"  reason: {one.reason}"]
            lines += [f"  hint: {one.hint}"] if one.hint else []
    others = f", {states['not applicable']} do not apply" if states["not applicable"] else ""
    return "\n".join([*lines, "", f"{states['passed']} hold, {states['failed']} do not{others}."])
