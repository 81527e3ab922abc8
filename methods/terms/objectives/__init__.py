"""Several losses, and the gradients of several losses, made one."""
