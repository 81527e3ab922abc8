"""What errors of a GPU and of the libraries below PyTorch say, where they have no type of their own."""

OUT_OF_MEMORY = ("out of memory", "ERROR_OUT_OF_MEMORY", "_ALLOC_FAILED")
NOT_DETERMINISTIC = ("does not have a deterministic implementation", "Deterministic behavior was enabled with either")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU has too little memory left, or was raised from one that does.

    PyTorch raises OutOfMemoryError; cuBLAS, cuDNN, other libraries of CUDA and MPS raise RuntimeError with a text.

    >>> import torch
    >>> is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory.")), is_out_of_memory(ValueError("out of memory"))
    (True, False)
    """
    own = isinstance(error, RuntimeError) and tells_out_of_memory(f"{type(error).__name__}: {error}")
    return own or (error.__cause__ is not None and is_out_of_memory(error.__cause__))


def tells_out_of_memory(text: str) -> bool:
    """Whether the text of an error, which may begin with the error's type, is about a GPU's memory."""
    return "OutOfMemoryError" in text or any(words in text for words in OUT_OF_MEMORY)


def is_not_deterministic(error: BaseException) -> bool:
    """Whether an error says that an operation has no deterministic algorithm; only after `make_deterministic`."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NOT_DETERMINISTIC)
