"""What is trained: a run and its key, the job of a worker, and the events that a run sends."""
