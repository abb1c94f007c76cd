"""Every shipped recipe loads, resolves, is listed with its question, and can be planned."""

import re
from pathlib import Path

import numpy as np
import pytest

from lightning_dna import catalog
from lightning_dna.cli import main
from lightning_dna.models.language_model import build_model
from lightning_dna.settings import load_yaml
from lightning_dna.study import plan
from lightning_dna.study.study import Study, load_study

RECIPES = catalog.names("recipe")
FILES = sorted((catalog.shipped_root() / "ablations").glob("*.y*ml"))
LENGTH = 20_000
YEAST = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII"]
YEAST += ["XIV", "XV", "XVI", "M"]


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    """A toy genome with the chromosomes of yeast, long enough for any shipped window.

    Beside it are another one, and a variant on each chromosome of it.
    """
    folder = tmp_path_factory.mktemp("genome")
    variants = ["##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"]
    for seed, name in enumerate(("second.fa", "toy.fa")):
        with (folder / name).open("w") as text:
            for number, numeral in enumerate(YEAST, start=100 * seed):
                bases = "".join(np.random.default_rng(number).choice([*"ACGT"], size=LENGTH))
                text.write(f">chr{numeral}\n{bases[:15_000]}{bases[15_000:].lower()}\n")
                other = "A" if bases[9] != "A" else "C"
                if name == "toy.fa":
                    variants.append(f"chr{numeral}\t10\t.\t{bases[9]}\t{other}\t.\tPASS\tAF=1\n")
    (folder / "toy.vcf").write_text("".join(variants))
    return folder / "toy.fa"


def overrides(name: str, genome: Path) -> list[str]:
    """What the user of a recipe gives: a genome, unless the recipe simulates its own.

    Tasks whose files a user has to fetch stay in the suite; nothing is read of them here.
    """
    content = load_yaml(catalog.resolve("recipe", name))
    data = content["shared"]["data"]
    kept = ["suite_missing=stop"] if "suite_missing" in content else []
    if "vcf" in data:
        kept.append(f"data.vcf={genome.with_suffix('.vcf')}")
    named = isinstance(data.get("split", {}).get("test"), list)
    if named and data["genome"] != "simulated":  # the chromosomes of another genome
        kept.append("data.split={train: [chrI], valid: [chrII, chrIII], test: [chrIV, chrV]}")
    if "canaries" in data:
        kept += ["data.canaries.max_share=0.9", "data.canaries.per_count=1"]
    if "genomes" in data:
        files = {"first": genome, "second": genome.with_name("second.fa")}
        return [*kept, *(f"data.genomes.{name}.genome={path}" for name, path in files.items())]
    return kept if data["genome"] == "simulated" else [f"data.genome={genome}", *kept]


@pytest.fixture(params=RECIPES)
def study(request, genome) -> Study:
    return load_study(request.param, overrides(request.param, genome))


def test_the_shipped_recipes():
    assert {"quickstart", "mixer", "position", "feedforward", "warmup", "repeats"} <= set(RECIPES)
    assert sorted(path.stem for path in FILES) == RECIPES


def test_resolves_to_arms_that_differ(study):
    recipe = study.recipe
    assert recipe.baseline in study.arms
    assert len(study.arms) >= 2
    assert len(recipe.seeds) >= 2
    assert len({cell.run_id for cell in study.cells()}) == len(study.arms) * len(recipe.seeds)
    assert study.split.test
    assert study.split.valid
    assert study.cards


def test_asks_one_question(study):
    question = study.recipe.question.strip()
    assert question.endswith("?")
    assert "\n" not in question


def test_declares_its_comparisons_with_margins(study):
    comparison = study.recipe.comparison
    assert comparison.scope == "procedure"
    assert comparison.planned
    metrics = {row.partition(":")[2] for row in comparison.planned}
    assert metrics <= set(comparison.margins)


def test_arms_differ_in_the_factor_only(study):
    """An arm names a few keys; none of them is its own learning rate or seed.

    A budget of its own has to be declared.
    """
    allowed = {"model", "data", "length_schedule"}
    allowed |= {"budget"} if study.recipe.unequal_budgets else set()
    for arm in study.arms.values():
        sections = {key.partition(".")[0] for key in arm.changes}
        assert sections <= allowed, arm.name
        assert len(arm.changes) <= 4, arm.name


def test_gated_and_plain_feedforwards_are_matched_in_parameters(study):
    """Otherwise a gain could be bought with parameters instead of with the gate."""
    assert {arm.settings.model.feedforward_match for arm in study.arms.values()} == {"parameters"}


def test_can_be_scored_on_its_suite(study):
    for arm in study.arms.values():
        assert arm.settings.data.length <= arm.settings.model.max_length
        for card in study.cards:
            if card.kind == "simulated_classification":
                assert card.length <= arm.settings.model.max_length


@pytest.mark.parametrize("name", RECIPES)
def test_is_listed_with_its_question(name, capsys):
    question = " ".join(load_yaml(catalog.resolve("recipe", name))["question"].split())
    assert main(["list"]) == 0
    recipes = capsys.readouterr().out.partition("suites:")[0]
    assert re.search(rf"^  {name} +{re.escape(question)}$", recipes, re.MULTILINE)


@pytest.mark.parametrize("name", RECIPES)
def test_is_described_in_the_readme_of_the_folder(name):
    readme = catalog.shipped_root() / "ablations" / "README.md"
    if not readme.is_file():
        pytest.skip("a wheel carries the recipes without their README")
    assert f"`{name}`" in readme.read_text()


def planned_rows(text: str) -> dict[str, dict[str, str]]:
    """The tables of a plan, by arm."""
    rows: dict[str, dict[str, str]] = {}
    titles: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[0].startswith(":"):
            continue
        if cells[0] == "arm":
            titles = cells
            continue
        rows.setdefault(cells[0], {}).update(zip(titles, cells, strict=True))
    return rows


@pytest.mark.parametrize("name", RECIPES)
def test_plan_prints_the_price_of_every_arm(name, genome, capsys, monkeypatch):
    # The one timed step of each arm takes seconds at full size and is tested elsewhere.
    monkeypatch.setattr(plan, "_time_step", lambda model, rows, length, precision: 0.5)
    changes = overrides(name, genome)
    assert main(["plan", name, *(["--set", *changes] if changes else [])]) == 0
    text = capsys.readouterr().out
    rows = planned_rows(text)
    study = load_study(name, changes)
    assert list(rows) == list(study.arms)
    for arm in study.arms.values():
        counted = sum(p.numel() for p in build_model(arm.settings.model, seed=0).parameters())
        row = rows[arm.name]
        assert row["parameters"] == f"{counted:,}"
        rate = float(row.get("per base", 1.0))  # tokens, each of which meets every parameter
        table = arm.settings.model.vocab_size * arm.settings.model.width  # but the embedding
        assert 1e6 * float(row["MFLOP/base"].replace(",", "")) > rate * (counted - table)
        assert float(row["training"]) > 2 * float(row["MFLOP/base"])
        assert float(row["memory MiB"].replace(",", "")) > 16 * counted / 2**20
        budget = arm.settings.budget
        assert int(row["tokens"].replace(",", "")) <= budget.tokens
        assert row["seeds"] == str(len(study.recipe.seeds))
        for change in arm.changes.items():
            assert "{}={}".format(*change) in text


def test_plan_of_the_quickstart_as_it_is(capsys, tmp_path, monkeypatch):
    """With the timed steps, from any folder, leaving nothing behind."""
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "quickstart"]) == 0
    printed = capsys.readouterr()
    rows = planned_rows(printed.out)
    assert {"hyena", "swiglu", "length_warmup", "repeats_removed"} <= set(rows)
    assert all(float(row["memory MiB"].replace(",", "")) > 0 for row in rows.values())
    assert all(len(line) <= 140 for line in printed.out.splitlines()[1:])
    hours = re.search(r"training in all: ([0-9.]+) hours", printed.out)
    assert hours is not None
    assert float(hours.group(1)) < 1
    assert printed.err == ""
    assert list(tmp_path.iterdir()) == []


def test_the_quickstart_asks_all_of_its_questions():
    """Mixer, position, gate, warm-up and repeats: one arm or more for each."""
    arms = load_study("quickstart").arms.values()
    assert {arm.settings.model.mixer for arm in arms} == {"attention", "hyena"}
    assert {arm.settings.model.position_scheme for arm in arms} >= {"alibi", "rope"}
    assert {arm.settings.model.feedforward for arm in arms} >= {"swiglu", "geglu"}
    assert len({arm.settings.length_schedule.kind for arm in arms}) == 2
    assert {arm.settings.data.repeats for arm in arms} == {"keep", "remove"}
