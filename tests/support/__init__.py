"""What tests share, under names that say what they make."""
