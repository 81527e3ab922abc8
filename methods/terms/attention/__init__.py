"""What is done to the attention of one kind of fusion head: how unevenly it falls on modalities, and turning its query."""
