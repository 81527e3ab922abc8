<<<<<<< HEAD
"""Golden values: each method's numbers, derived by hand, in closed form, or from its definition in plain torch."""
=======
"""Methods against values derived independently of their code: by hand, from closed forms, from plain loops."""
>>>>>>> main
