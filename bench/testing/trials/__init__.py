"""Small trainings of a method under test, and how they are compared."""
