"""What methods are made of that learn from frozen unimodal teachers."""
