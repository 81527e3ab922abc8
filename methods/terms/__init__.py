"""What several methods, or one large method, are made of: pure functions of tensors first, and the steps they share."""
