"""What is done to the gradients of parameters after the backward pass: masks over units, and a pull back."""
