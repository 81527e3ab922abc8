"""What is asked for becomes the runs to train: plans, experiments as files, estimates of time."""
