"""What is done to the gradients of parameters after the backward pass: factors, masks over units, a pull back."""
