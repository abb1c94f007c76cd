"""Models from the table of variants and from checkpoints, as arms of a study."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import tokenizers
import torch
import yaml

from lightning_dna import atomic, build_model
from lightning_dna.errors import ConfigError, DataError
from lightning_dna.genome.alphabet import encode
from lightning_dna.models.config import ModelConfig
from lightning_dna.models.interop.pretrained import save_pretrained
from lightning_dna.models.variants import variant_config
from lightning_dna.report.page import render
from lightning_dna.study.compare import write_results
from lightning_dna.study.model_source import encoding_of
from lightning_dna.study.plan import plan_table
from lightning_dna.study.run import execute
from lightning_dna.study.scoring import Scorer
from lightning_dna.study.study import load_study, open_study
from lightning_dna.study.tune import _tuned_recipe
from lightning_dna.tokenizers.kmer import vocabulary

SMALL = {"width": 12, "layers": 1, "max_length": 66}
HYENA = variant_config("hyenadna-tiny-1k", **SMALL, hyena_filter_width=8)
KMERS = variant_config("nt-v2-50m", **SMALL, heads=2, vocab_size=31)


def checkpoint(folder, config, *, seed=0, layout="published"):
    """A checkpoint as it is published, with weights that nobody trained."""
    model = build_model(config, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    save_pretrained(model, folder, layout=layout)
    if config.vocab_size == 31:
        (folder / "vocab.txt").write_text("\n".join(vocabulary(2)))
    return folder


@pytest.fixture
def hyena(tmp_path):
    return checkpoint(tmp_path / "hyena", HYENA)


@pytest.fixture(autouse=True)
def _one_arm(content):
    content["arms"] = {"attention": None}


def model_of(study, name):
    return study.arms[name].settings.model


class TestVariants:
    def test_rows_lie_between_what_is_shared_and_what_the_arm_says(self, make_study):
        """Shared: width 16, one layer, two heads; the row: 2 layers, width 128; the arm: width."""
        named = {"model": {"variant": "hyenadna-tiny-1k", "width": 24}}
        config = model_of(make_study(arms={"named": named}), "named")
        assert (config.mixer, config.objective) == ("hyena", "next_token")
        assert (config.width, config.layers, config.heads) == (24, 2, 2)
        assert (config.max_length, config.hyena_filter_shift) == (1026, 0.05)

    def test_an_arm_names_another_row_than_the_shared_one(self, make_study):
        study = make_study(
            shared={"model": {"variant": "attention_rope", "layers": 1}},
            arms={"dilated": {"model": {"variant": "dilated"}}},
        )
        assert model_of(study, "attention").position_scheme == "rope"
        assert model_of(study, "dilated").mixer == "dilated"
        assert model_of(study, "dilated").position_scheme == "none"
        assert model_of(study, "dilated").layers == 1

    def test_runs_are_those_of_the_same_settings_without_the_name(self, make_study):
        spelled = {"model": {"mixer": "hyena", "strand": "averaged"}}
        for arm in ({"model": {"variant": "hyena_averaged"}}, spelled):
            study = make_study(arms={"hyena": arm})
            ids = {cell.run_id for cell in study.cells()}
            assert len(ids) == 4
            if arm is not spelled:
                before = ids
        assert ids == before

    def test_an_unknown_row(self, make_study):
        with pytest.raises(ConfigError, match=r"arm 'hyena': model.variant: unknown variant 'hyen"):
            make_study(arms={"hyena": {"model": {"variant": "hyena-dna"}}})


class TestResolution:
    def test_settings_are_the_checkpoints(self, make_study, hyena):
        study = make_study(arms={"hyena": {"model": {"pretrained": str(hyena)}}})
        assert model_of(study, "hyena") == replace(HYENA, feedforward_width=48)
        (changed,) = study.arms["hyena"].changes.items()
        assert changed[0] == "model.pretrained"
        assert changed[1].startswith("hyena (")
        assert [arm.name for arm in study.trained] == ["attention"]

    def test_runtime_settings_may_differ(self, make_study, tmp_path):
        config = ModelConfig(width=12, heads=2, layers=1, max_length=66)
        folder = checkpoint(tmp_path / "own", config, layout="own")
        changes = {"dropout": 0.2, "strand": "averaged", "attention_backend": "eager"}
        arm = {"model": {"pretrained": str(folder), **changes}}
        study = make_study(arms={"hyena": arm})
        source = study.arms["hyena"].source
        model = source.load()
        assert {key: getattr(model.config, key) for key in changes} == changes
        plain = {"model": {"pretrained": str(folder)}}
        other = make_study(arms={"hyena": plain}).arms["hyena"].source.load()
        assert all(
            torch.equal(value, other.state_dict()[name])
            for name, value in model.state_dict().items()
        )
        ids = torch.tensor([[7, 8, 9, 10, 10]])
        assert not torch.equal(model(ids).logits, other(ids).logits)  # the other strand is read too

    def test_ids_are_of_the_content_and_not_of_the_place(self, make_study, hyena, tmp_path):
        def ids(folder, **more):
            arm = {"model": {"pretrained": str(folder), **more}}
            study = make_study(arms={"hyena": arm})
            return {cell.seed: cell.run_id for cell in study.cells() if cell.arm.name == "hyena"}

        moved = shutil.copytree(hyena, tmp_path / "moved")
        assert ids(hyena) == ids(moved)
        assert len(set(ids(hyena).values())) == 2
        other = checkpoint(tmp_path / "other", HYENA, seed=1)
        seen = [*ids(hyena).values(), *ids(other).values(), *ids(hyena, dropout=0.1).values()]
        assert len(set(seen)) == 6

    def test_relative_folders_lie_beside_the_recipe(self, content, hyena, write_yaml):
        content["arms"]["hyena"] = {"model": {"pretrained": "hyena"}}
        study = load_study(write_yaml("beside.yaml", content))
        assert study.arms["hyena"].source.folder == hyena

    @pytest.mark.parametrize(
        ("arm", "message"),
        [
            ({"model": {"width": 16}}, "model.width beside model.pretrained.*Allowed.*dropout"),
            ({"model": {"variant": "hyena"}}, "model.variant beside model.pretrained"),
            ({"budget": {"tokens": 512}}, "budget beside model.pretrained.*not trained here"),
            ({"model": {"strand": "averaged"}}, "'averaged' reads the sequence from both ends"),
            ({"model": {"dropout": 2}}, "model.dropout: found 2"),
        ],
    )
    def test_what_would_have_no_effect_is_refused(self, make_study, hyena, arm, message):
        model = {"pretrained": str(hyena), **arm.get("model", {})}
        with pytest.raises(ConfigError, match=f"arm 'hyena': .*{message}"):
            make_study(arms={"hyena": {**arm, "model": model}})

    def test_bad_folders(self, make_study, hyena, tmp_path):
        def of(folder):
            return make_study(arms={"hyena": {"model": {"pretrained": str(folder)}}})

        with pytest.raises(
            DataError, match=r"arm 'hyena': model.pretrained: .*absent is no folder"
        ):
            of(tmp_path / "absent")
        config = json.loads((hyena / "config.json").read_text())
        (hyena / "config.json").write_text(json.dumps({**config, "n_layer": 2}))
        with pytest.raises(DataError, match=r"missing: backbone\.layers\.1"):
            of(hyena)
        (hyena / "config.json").write_text(json.dumps({"model_type": "llama"}))
        with pytest.raises(DataError, match=r"no known layout.*'llama'"):
            of(hyena)

    def test_shared_and_repeated_checkpoints(self, make_study, hyena):
        with pytest.raises(ConfigError, match=r"shared.model.pretrained would make every arm"):
            make_study(shared={"model": {"pretrained": str(hyena)}})
        arm = {"model": {"pretrained": str(hyena)}}
        with pytest.raises(ConfigError, match="resolve to the same settings"):
            make_study(arms={"hyena": arm, "again": arm})

    def test_a_checkpoint_that_changes_under_a_study(self, make_study, hyena):
        study = make_study(arms={"hyena": {"model": {"pretrained": str(hyena)}}})
        checkpoint(hyena, HYENA, seed=3)
        with pytest.raises(DataError, match="has changed since this study was resolved"):
            study.arms["hyena"].source.load()


class TestTokenizers:
    def test_own_layout_of_bases_and_of_tokens(self, tmp_path):
        config = ModelConfig(width=12, heads=2, layers=1)
        assert encoding_of(checkpoint(tmp_path / "own", config, layout="own"), config).by_base
        model = build_model(KMERS, seed=0)
        save_pretrained(model, tmp_path / "bare", layout="own")
        with pytest.raises(DataError, match="a model over 31 tokens and no tokenizer"):
            encoding_of(tmp_path / "bare", KMERS)

    def test_published_kmers(self, tmp_path):
        encoding = encoding_of(checkpoint(tmp_path / "kmers", KMERS), KMERS)
        assert (encoding.by_base, encoding.special) == (False, True)
        assert encoding.tokenizer.vocab_size == len(vocabulary(2)) == 27

    @pytest.mark.data
    def test_published_byte_pairs(self, tmp_path, data_folder):
        config = variant_config("dnabert2", width=12, heads=3, layers=1, feedforward_width=20)
        folder = checkpoint(tmp_path / "pairs", config)
        path = shutil.copy(data_folder / "dnabert2-tokenizer" / "tokenizer.json", folder)
        text = "ACGTTGCANNACGATTTTTGC" * 5
        library = tokenizers.Tokenizer.from_file(str(path))
        encoding = encoding_of(folder, config)
        assert encoding.row(encode(text)).tolist() == library.encode(text).ids
        assert encoding.special_ids == (library.token_to_id("[CLS]"), library.token_to_id("[SEP]"))
        with pytest.raises(DataError, match=r"has 4096 tokens.*rows for 4088"):
            encoding_of(folder, replace(config, vocab_size=4088))

    def test_strands_of_tokens(self, make_study, tmp_path):
        """Even where the vocabulary is as small as that of single bases."""
        folder = checkpoint(tmp_path / "kmers", KMERS)
        arm = {"model": {"pretrained": str(folder), "strand": "equivariant"}}
        with pytest.raises(ConfigError, match="needs one token per base"):
            make_study(arms={"hyena": arm})


def test_only_trained_arms_are_tuned(make_study, hyena):
    study = make_study(arms={"hyena": {"model": {"pretrained": str(hyena)}}})
    recipe = _tuned_recipe(study, {"attention": {"optimizer.lr": 0.1}})
    assert recipe["arms"]["hyena"] == {"model": {"pretrained": str(hyena)}}
    assert recipe["arms"]["attention"] == {"optimizer": {"lr": 0.1}}


def test_windows_that_a_checkpoint_has_no_room_for(make_study, tmp_path):
    """Told before anything runs; with ALiBi there is always room."""
    short = {"vocab_size": 31, "max_length": 20, "heads": 2, "layers": 1, "width": 12}
    rotary = checkpoint(tmp_path / "rotary", variant_config("nt-v2-50m", **short))
    study = make_study(arms={"rotary": {"model": {"pretrained": str(rotary)}}})
    with pytest.raises(DataError, match=r"arm 'rotary' on task 'bases'.*33 tokens.*takes 20"):
        Scorer(study).check()
    reads_on = checkpoint(tmp_path / "alibi", variant_config("dnabert2", **short))
    Scorer(make_study(arms={"alibi": {"model": {"pretrained": str(reads_on)}}})).check()
    bases = checkpoint(tmp_path / "bases", replace(HYENA, max_length=63))
    with pytest.raises(DataError, match=r"'bases' on task 'bases'.*64 tokens.*takes 63 .*leave"):
        Scorer(make_study(arms={"bases": {"model": {"pretrained": str(bases)}}})).check()


@pytest.mark.usefixtures("add_promoters")
def test_checkpoints_beside_a_trained_arm(make_study, hyena, tmp_path):
    kmers = checkpoint(tmp_path / "kmers", KMERS)
    card = tmp_path / "suite" / "promoter.yaml"
    task = yaml.safe_load(card.read_text()) | {"length": 60, "baselines": ["kmer_logistic"]}
    task |= {"ways": ["frozen", "full", "random", "scratch"], "n_train": 24, "n_test": 20}
    card.write_text(yaml.safe_dump(task))
    study = make_study(
        arms={
            "hyena": {"model": {"pretrained": str(hyena)}},
            "kmers": {"model": {"pretrained": str(kmers)}},
        }
    )
    assert "hyena" in plan_table(study)
    out = tmp_path / "out"
    outcome = execute(study, out, workers=1)
    assert (outcome.done, outcome.failed) == (2 + 6, 0)
    assert execute(open_study(out), out, workers=1).done == 8
    write_results(study, out)

    cells = {cell.name: out / "runs" / cell.run_id for cell in study.cells()}
    record = atomic.read_json(cells["kmers/1"] / "fit.json")
    assert (record["steps"], record["tokens"]) == (0, 0)
    assert 0.5 <= record["tokens_per_base"] < 0.55
    assert record["source"]["layout"] == "Nucleotide Transformer v2"
    assert len(record["source"]["digest"]) == 64
    assert not list(out.glob("runs/*/*.safetensors"))
    assert list(cells["kmers/0"].glob("scores/bases-*.parquet"))
    assert not list(cells["kmers/1"].glob("scores/bases-*.parquet"))

    results = out / "results"
    estimates = pd.read_csv(results / "estimates.csv")
    assert (estimates["n_seeds"] == 2).all()
    rows = estimates[estimates["metric"].isin(["mlm_accuracy", "accuracy"])]
    scored = rows.groupby("variant")["task"].agg(set)
    assert scored["hyena"] == scored["kmers"] == scored["attention"]
    assert {"promoter/scratch", "bases/gap"} <= scored["kmers"]
    costs = pd.read_csv(results / "arms.csv").set_index("arm")
    assert costs.loc[["hyena", "kmers"], "tokens"].tolist() == [0, 0]
    described = json.loads((results / "study.json").read_text())
    assert str(tmp_path) not in json.dumps(described)
    assert sum("pretrained elsewhere" in note for note in described["notes"]) == 2
    one_sided = [note for note in described["notes"] if note.startswith("next-token arms (hyena)")]
    assert len(one_sided) == 1
    page = render(out).read_text()
    assert "pretrained elsewhere" in page
    assert "not at equal budget" not in page
