"""IPRM's official code predicts with shares of the run, those of its last batch: here the model's weights hold them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import make_fit, whole_batch
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.bench.training.checkpoints import read_checkpoint, write_checkpoint
from mcr_bench.methods.iprm import Iprm

SETTINGS = {"optimizer__lr": 0.05, "batch_size": 8, "dtype": torch.float64}


def predicted(method: Iprm) -> Tensor:
    model = method.fit.model
    model.eval()
    with torch.no_grad():
        return method.predict(model, whole_batch(method.fit).inputs).logits


def require_own_shares(method: Iprm, weights: dict[str, Tensor], before: Tensor) -> None:
    """The weights of an earlier epoch predict as they did then."""
    method.fit.model.load_state_dict(weights)
    torch.testing.assert_close(predicted(method), before, rtol=1e-9, atol=1e-12)


def test_the_best_epoch_predicts_with_its_own_shares() -> None:
    method = Iprm()
    make_fit(method, **SETTINGS)
    train(method, 1)
    weights, before = {k: v.clone() for k, v in method.fit.model.state_dict().items()}, predicted(method)
    train(method, 4)
    last = {k: v.clone() for k, v in method.fit.model.state_dict().items() if "share_" in k}
    require_own_shares(method, weights, before)
    with pytest.raises(AssertionError):  # with the shares of the run's last batch
        require_own_shares(method, {**weights, **last}, before)
    assert (predicted(method) - before).norm() > 1e-3 * before.norm()


def test_a_checkpoint_holds_the_shares(tmp_path: Path) -> None:
    method, again = Iprm(), Iprm()
    make_fit(method, **SETTINGS)
    make_fit(again, **SETTINGS)
    train(method, 2)
    write_checkpoint(tmp_path, method.fit, method, None, {})
    read_checkpoint(tmp_path, again.fit, again, None)
    for one in (method, again):
        train(one, 1)
    mine, theirs = (one.fit.model.state_dict() for one in (method, again))
    assert {"fusion.share_audio", "fusion.probed_video"} <= mine.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
