"""Frozen features of texts: those of a small language model with random weights, and weights that are wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.mvsa_single import MvsaSingle
from mcr_bench.datasets.raw.texts import language_model
from mcr_bench.tests.support.media.pair_files import mvsa, tweet

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rain", "sun", "coffee", "traffic", "friends", "monday", "music", "storm"]
SMALL: dict[str, Any] = {"picture_size": 16, "crop": 16, "steps": 7, "text": "model"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer with random weights, and a tokenizer of whole words."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("model")
    rules = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    rules.normalizer = normalizers.Lowercase()
    rules.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rules.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    return folder


def wanted(model: Path, text: str) -> torch.Tensor:
    """The library's own last hidden states of the first 7 tokens of a text, which has more."""
    transformers = pytest.importorskip("transformers")
    tokens = transformers.AutoTokenizer.from_pretrained(model)(text, truncation=True, max_length=7)["input_ids"]
    assert (tokens[0], tokens[-1], len(tokens)) == (2, 3, 7)
    with torch.inference_mode():
        given: torch.Tensor = transformers.BertModel.from_pretrained(model).eval()(torch.tensor([tokens]))[0][0]
    return given


def test_features_are_the_last_hidden_states(model: Path) -> None:
    made = torch.from_numpy(language_model.features(tweet(2), str(model), 7))
    torch.testing.assert_close(made.float(), wanted(model, tweet(2)), atol=2e-3, rtol=2e-3)


@pytest.mark.slow
def test_features_are_stored_and_trained_on(model: Path, tmp_path: Path) -> None:
    data = MvsaSingle(tmp_path / "data/mvsa-single", weights=str(model), **SMALL)
    data.prepare(Preparation(mvsa(tmp_path / "raw")))
    assert data.modalities()["text"].shape == (7, 8)
    assert data.modalities()["text"].vocabulary == 0
    at = data.cache.index.ids.index("2")
    stored = torch.from_numpy(data.cache.array("text")[data.cache.rows[at]].copy())
    torch.testing.assert_close(stored.float(), wanted(model, tweet(2)), atol=2e-3, rtol=2e-3)
    batch = data.load("lists", 1, 0, ("text",)).train.batch(torch.arange(18)).inputs
    assert batch.values["text"].isfinite().all()
    assert data.acting({"weights": "elsewhere"})["weights"] == " ".join(language_model.sums_of(str(model)))


def test_wrong_weights_are_errors_before_anything_is_written(model: Path, tmp_path: Path) -> None:
    def refused(weights: str, message: str) -> None:
        with pytest.raises(UserError, match=message):
            MvsaSingle(tmp_path / "data", weights=weights, **SMALL).prepare(Preparation(tmp_path))

    refused("", "needs a folder with config.json, model.safetensors, tokenizer.json")
    copy = shutil.copytree(model, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    refused(str(copy), "weights are missing, .* first. Copy the weights again")
    (copy / "model.safetensors").write_bytes(b"x")
    refused(str(copy), "cannot be read")
    assert not (tmp_path / "data").exists()
