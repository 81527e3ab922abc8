"""What is done inside one kind of fusion head: how unevenly its attention falls on modalities, and a turned query."""
