"""Methods against values derived independently of their code: by hand, from closed forms, from plain loops."""
