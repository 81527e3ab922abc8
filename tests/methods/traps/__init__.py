"""Traps: where official code departs from its paper, the released rule is computed apart and compared with both."""
