"""Pure functions of tensors that several methods, or one large method, are made of."""
