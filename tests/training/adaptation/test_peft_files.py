"""Adapters in peft's layout: read back by us, and through peft itself, in both directions."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch

from lightning_dna.errors import DataError
from lightning_dna.models.language_model import LanguageModel
from lightning_dna.training.adaptation.peft_files import load_adapters, save_adapters
from lightning_dna.training.adaptation.weight_adapters import adapters, add_ia3, add_lora
from lightning_dna.training.finetune import SequenceClassifier

IDS = torch.randint(7, 11, (3, 20), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(20) < torch.tensor([20, 13, 7])[:, None]
METHODS = ["lora", "ia3"]


def classifier(model: LanguageModel, seed: int = 0) -> SequenceClassifier:
    return SequenceClassifier(model, n_classes=2, seed=seed).eval()


def adapted(model: LanguageModel, method: str, names: tuple[str, ...] = ()) -> SequenceClassifier:
    made = classifier(model)
    if method == "lora":
        add_lora(made.backbone, names, rank=2, alpha=6.0, seed=0)
    else:
        add_ia3(made.backbone, names)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in adapters(made.backbone):
            for part in one.adapter.parameters():
                part.add_(0.3 * torch.randn(part.shape, generator=generator))
        made.head.linear.weight.normal_(generator=generator)
    return made


@torch.no_grad()
def logits(model: torch.nn.Module) -> np.ndarray:
    return model(IDS, MASK).numpy()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["attention", "hyena", "hybrid", "dilated", "mamba"])
def test_what_is_saved_is_read_back_head_included(toy, tmp_path, method, name):
    made = adapted(toy.models[name], method)
    save_adapters(made, tmp_path)
    other = classifier(toy.models[name], seed=5)
    found = load_adapters(other, tmp_path)
    np.testing.assert_allclose(logits(other), logits(made), atol=2e-6)
    assert [one.path for one in found] == [one.path for one in adapters(made.backbone)]
    trained = [key for key, part in other.named_parameters() if part.requires_grad]
    assert all(".parametrizations." in key or key.startswith("head.") for key in trained)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["attention", "hyena", "hybrid", "mamba", "glu"])
class TestThroughPeft:
    """The library itself computes the same; its layers are called, not only read."""

    def test_adapters_saved_here_work_there(self, toy, tmp_path, method, name):
        peft = pytest.importorskip("peft", reason="install lightning-dna[peft]")
        made = adapted(toy.models[name], method)
        save_adapters(made, tmp_path)
        theirs = peft.PeftModel.from_pretrained(copy.deepcopy(toy.models[name]), tmp_path).eval()
        with torch.no_grad():
            hidden = theirs(IDS, MASK).hidden[MASK].numpy()
            expected = made.backbone(IDS, MASK)[MASK].numpy()
            plain = toy.models[name](IDS, MASK).hidden[MASK].numpy()
        np.testing.assert_allclose(hidden, expected, atol=2e-5)
        assert np.abs(hidden - plain).max() > 1e-3

    def test_adapters_saved_there_work_here(self, toy, tmp_path, method, name):
        peft = pytest.importorskip("peft", reason="install lightning-dna[peft]")
        layers = ["query_key_value", "mixer.input", "mixer.output", "contract"]
        columns = ["contract"]
        config = (
            peft.LoraConfig(r=3, lora_alpha=5, target_modules=layers, init_lora_weights=False)
            if method == "lora"
            else peft.IA3Config(
                target_modules=layers, feedforward_modules=columns, init_ia3_weights=False
            )
        )
        torch.manual_seed(0)
        theirs = peft.get_peft_model(copy.deepcopy(toy.models[name]), config).eval()
        theirs.save_pretrained(tmp_path)
        ours = classifier(toy.models[name])
        load_adapters(ours, tmp_path)
        with torch.no_grad():
            expected = theirs(IDS, MASK).hidden[MASK].numpy()
            got = ours.backbone(IDS, MASK)[MASK].numpy()
            plain = toy.models[name](IDS, MASK).hidden[MASK].numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got / scale, expected / scale, atol=1e-5)
        assert np.abs(expected - plain).max() > 1e-3


class TestBadFiles:
    @pytest.fixture
    def folder(self, toy, tmp_path):
        save_adapters(adapted(toy.models["attention"], "lora"), tmp_path)
        return tmp_path

    def edited(self, folder, **changes):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return folder

    def test_no_adapter_to_save(self, toy, tmp_path):
        with pytest.raises(DataError, match="no adapter; it takes what the way 'lora' or 'ia3'"):
            save_adapters(classifier(toy.models["attention"]), tmp_path)

    def test_an_empty_folder(self, toy, tmp_path):
        with pytest.raises(DataError, match=r"no adapter_config\.json"):
            load_adapters(classifier(toy.models["attention"]), tmp_path)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; LORA and IA3"),
            ({"use_dora": True}, "uses use_dora"),
            ({"bias": "all"}, "uses bias"),
        ],
    )
    def test_another_method_or_option(self, toy, folder, changes, match):
        with pytest.raises(DataError, match=match):
            load_adapters(classifier(toy.models["attention"]), self.edited(folder, **changes))

    def test_another_architecture(self, toy, folder):
        with pytest.raises(DataError, match=r"'blocks\.0\.mixer\.query_key_value', which this"):
            load_adapters(classifier(toy.models["hyena"]), folder)

    def test_another_size(self, toy, folder):
        from dataclasses import replace

        from lightning_dna.models.language_model import build_model

        wide = build_model(replace(toy.configs["attention"], width=32), seed=0)
        with pytest.raises(DataError, match=r"shape \[4, 16\].*takes \[4, 32\]; the adapter"):
            load_adapters(classifier(wide), folder)

    def test_another_number_of_classes(self, toy, folder):
        three = SequenceClassifier(toy.models["attention"], n_classes=3, seed=0)
        with pytest.raises(DataError, match=r"head takes .*\[3, 16\]"):
            load_adapters(three, folder)

    def test_a_file_cut_off(self, toy, folder):
        path = folder / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(DataError, match="cut off"):
            load_adapters(classifier(toy.models["attention"]), folder)

    def test_the_head_is_not_needed(self, toy, folder, tmp_path_factory):
        other = tmp_path_factory.mktemp("no-head")
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(folder / name, other)
        assert len(load_adapters(classifier(toy.models["attention"]), other)) == 2
