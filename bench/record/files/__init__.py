"""The files of runs: where they lie, whether they are whole, and the scores that are read from them."""
