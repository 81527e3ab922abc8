<<<<<<< HEAD
"""Traps: where official code departs from its paper, the released rule is computed apart and compared with both."""
=======
"""Rules of released code that depart from their papers, each computed from the words that describe it."""
>>>>>>> main
