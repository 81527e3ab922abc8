"""How a process computes: TF32 only where it is asked for, whatever was set before and whichever PyTorch is there."""

from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.precision import full_precision, promoted

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


@pytest.fixture(autouse=True)
def switches_kept() -> Iterator[None]:
    """PyTorch's switches are those of the process."""
    backends = torch.backends
    places = [(backends.cudnn, name) for name in ("allow_tf32", "benchmark", "deterministic")]
    kept = [(place, name, getattr(place, name)) for place, name in places]
    generic = getattr(backends, "fp32_precision", None)
    yield
    if generic is not None:
        backends.fp32_precision = generic
    torch.use_deterministic_algorithms(False)
    devices.numerics(CPU, "fp32", deterministic=False)
    for place, name, value in kept:
        setattr(place, name, value)


def tf32() -> set[bool]:
    """What every switch of PyTorch says, the older and the newer ones; a mix of the two raises."""
    backends: Any = torch.backends
    said = {backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32}
    said.add(torch.get_float32_matmul_precision() != "highest")
    with suppress(AttributeError):  # before PyTorch 2.9
        newer = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        said |= {switches.fp32_precision == "tf32" for switches in newer}
    return said


@pytest.mark.parametrize(
    ("device", "precision", "on"),
    [(GPU, "tf32", True), (GPU, "fp32", False), (GPU, "bf16", False), (CPU, "tf32", False), (CPU, "fp32", False)],
)
@pytest.mark.parametrize("before", [(GPU, "tf32"), (GPU, "fp32"), None])
def test_tf32_is_on_for_tf32_on_a_gpu_alone(device: Any, precision: Any, on: bool, before: Any) -> None:
    if before:
        devices.numerics(*before, deterministic=False)
    devices.numerics(device, precision, deterministic=False)
    assert tf32() == {on}
    assert devices.tries_algorithms() == (device is GPU)


def test_full_precision_does_not_depend_on_a_default_that_was_changed() -> None:
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this PyTorch has no such default")
    torch.backends.fp32_precision = "tf32"
    devices.numerics(GPU, "fp32", deterministic=False)
    assert tf32() == {False}


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_determinism_goes_before_speed(precision: Any) -> None:
    devices.numerics(GPU, precision, deterministic=True)
    assert tf32() == {False}
    assert not devices.tries_algorithms()
    assert torch.are_deterministic_algorithms_enabled()


def test_a_pytorch_without_the_newer_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul, cudnn = SimpleNamespace(allow_tf32=False), SimpleNamespace(allow_tf32=True, benchmark=False)
    called: list[str] = []
    older = SimpleNamespace(
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=matmul), cudnn=cudnn),
        set_float32_matmul_precision=called.append,
        use_deterministic_algorithms=lambda _: None,
    )
    monkeypatch.setattr(devices, "torch", older)
    for precision, on in (("fp32", False), ("tf32", True), ("bf16", False)):
        devices.numerics(GPU, precision, deterministic=False)  # type: ignore[arg-type]
        assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == (on, on, True)
    assert not hasattr(matmul, "fp32_precision")
    assert not hasattr(cudnn, "conv")


def test_full_precision_inside_autocast() -> None:
    x = torch.full((1, 1), 1 + 2**-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).item() == 1.0
        with full_precision(x.device):
            assert (x @ x).item() == pytest.approx((1 + 2**-12) ** 2, rel=1e-7)
    assert promoted(x) is x
