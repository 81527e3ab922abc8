"""What is read from files is bounded before it is read: the memory that it takes, and how deep it is nested."""
