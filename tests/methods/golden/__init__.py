"""Golden values: each method's numbers, derived by hand, in closed form, or from its definition in plain torch."""
