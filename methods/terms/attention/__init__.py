"""What is done to the attention of a fusion head: how unevenly it falls on modalities, and turning its query."""
