import pytest

from lightning_dna.report.results import load_results
from lightning_dna.report.wording import (
    flag_meaning,
    flags_by_name,
    how_to_read,
    place,
    reference_sentence,
    task_title,
    verdict_sentence,
)

ACCURACY = ("heldout_mlm", "mlm_accuracy")


def said(results, task="heldout_mlm", metric="mlm_accuracy"):
    """The sentence with ordinary spaces."""
    return verdict_sentence(results, task, metric).replace("\u00a0", " ")


def change(content, verdicts, **numbers):
    """Give the planned accuracy rows of some arms other verdicts and numbers."""
    for row in content["comparisons.csv"]:
        if (row["task"], row["metric"]) == ACCURACY and row["variant"] in verdicts:
            row["verdict"] = verdicts[row["variant"]]
            row.update(numbers)
    return content


ARMS = ("attention_rope", "hyena", "swiglu", "geglu", "warmup", "repeats_removed")


def test_sentence_of_the_whole_study(study_folder):
    # Numbers from the fixture's table: delta = effect, half width 0.61 points.
    assert said(load_results(study_folder)).startswith(
        "warmup is better than attention_alibi by 0.94 points [0.33, 1.55]; worse than"
        " attention_alibi are repeats_removed by 2.76 points [2.15, 3.37] and hyena by 1.12 points"
        " [0.51, 1.73]; swiglu is equivalent to attention_alibi within ±1.00 points; 2 comparisons"
        " are inconclusive (they could have detected 0.8"
    )


def test_lower_is_better_keeps_sizes_positive(study_folder):
    text = said(load_results(study_folder), metric="bits_per_base")
    assert text.startswith("warmup is better than attention_alibi by 0.0150 bits [0.0057, 0.0243]")


def test_no_arm_better_and_all_inconclusive(content, write):
    change(content, dict.fromkeys(ARMS, "inconclusive"), mde80=0.011)
    assert said(load_results(write(content))) == (
        "no arm is shown to be better than attention_alibi; all 6 comparisons are inconclusive"
        " (they could have detected 1.10 points with 80 % power)."
    )


def test_one_inconclusive_comparison_is_named(content, write):
    change(content, dict.fromkeys(ARMS, "worse"))
    change(content, {"geglu": "inconclusive"}, mde80=0.0123)
    text = said(load_results(write(content)))
    assert "the comparison with geglu is inconclusive (it could have detected 1.23 points" in text


def test_inconclusive_without_detectable_difference_says_no_number(content, write):
    change(content, dict.fromkeys(ARMS, "inconclusive"), mde80="")
    assert said(load_results(write(content))).endswith("all 6 comparisons are inconclusive.")


def test_a_comparison_without_a_test_is_not_called_inconclusive(content, write):
    change(content, dict.fromkeys(ARMS, "worse"))
    change(content, {"geglu": "inconclusive"}, p="", p_adjusted="", mde80="")
    text = said(load_results(write(content)))
    assert text.endswith("; geglu is not tested.")
    assert "inconclusive" not in text


def test_many_worse_arms_are_counted_after_the_largest_four(content, write):
    change(content, dict.fromkeys(ARMS, "worse"))
    text = said(load_results(write(content)))
    assert "worse than attention_alibi are repeats_removed by 2.76 points" in text
    assert text.endswith("and 2 more arms.")


def test_two_equivalent_without_a_margin(content, write):
    content["study.json"]["margin"] = None
    change(content, {"swiglu": "equivalent", "geglu": "equivalent"})
    text = said(load_results(write(content)))
    assert "swiglu and geglu are equivalent to attention_alibi;" in text


def test_gap_is_larger_or_smaller_and_never_better(study_folder):
    text = said(load_results(study_folder), task="heldout_mlm/gap")
    assert text.startswith("warmup is larger than attention_alibi by 0.47 points")
    assert "smaller than attention_alibi are repeats_removed by 1.38 points" in text
    assert "better" not in text
    assert "worse" not in text


def test_nothing_to_compare(content, write):
    content["comparisons.csv"] = [
        row for row in content["comparisons.csv"] if row["task"] == "promoter/full"
    ]
    assert said(load_results(write(content))) == "no comparison with attention_alibi could be made."


def test_best_simple_baseline_in_both_directions(study_folder):
    results = load_results(study_folder)
    text = reference_sentence(results, *ACCURACY).replace("\u00a0", " ")
    assert text == (
        "The best simple baseline, markov_3, reaches 37.12 % [36.63, 37.61]; 7 of 7 arms have a"
        " better point estimate."
    )
    bits = reference_sentence(results, "heldout_mlm", "bits_per_base")
    assert "markov_3" in bits
    frozen = reference_sentence(results, "promoter/frozen", "accuracy")
    assert "kmer_logistic" in frozen
    assert "0 of 7 arms" in frozen


def test_no_sentence_without_a_simple_baseline(study_folder):
    assert reference_sentence(load_results(study_folder), "promoter/full", "mcc") == ""


@pytest.mark.parametrize(
    ("task", "title"),
    [
        ("heldout_mlm", "Held-out chromosomes"),
        ("heldout_mlm/unique", "Held-out chromosomes, outside repeats"),
        ("heldout_mlm/codon_3", "Held-out chromosomes, third codon positions"),
        ("heldout_mlm/gc_30_40", "Held-out chromosomes, windows with 30 to 40 % G and C"),
        ("heldout_mlm/class_LINE", "Held-out chromosomes, repeats of class LINE"),
        ("promoter", "Promoter"),
        ("heldout_mlm/train", "Training chromosomes"),
        ("heldout_mlm/gap", "Training minus held-out chromosomes"),
        ("long_range/scratch", "Long range, trained from scratch"),
        ("H3/random", "H3, linear probe, untrained weights"),
        ("a/b", "A/b"),
        ("full", "Full"),
    ],
)
def test_task_titles(task, title):
    assert task_title(task) == title


def test_place_heads_the_sentence():
    assert place("promoter/full", "accuracy") == "Promoter, fine-tuned, accuracy"


def test_how_to_read_follows_the_scope(content, write):
    procedure = " ".join(how_to_read(load_results(write(content))))
    assert "training procedure: seeds are treated as random" in procedure
    assert "171 to 2000 of them per task" in procedure
    assert "95% intervals" in procedure
    content["study.json"]["scope"] = "checkpoint"
    content["study.json"]["level"] = 0.9
    for name in ("estimates.csv", "comparisons.csv"):
        for row in content[name]:
            row["scope"] = "checkpoint"
    checkpoint = " ".join(how_to_read(load_results(write(content))))
    assert "these trained weights" in checkpoint
    assert "90% intervals" in checkpoint


def test_flags_say_what_where_and_what_it_means(content, write):
    content["estimates.csv"][0]["flags"] = "few_seeds;few_clusters"
    for row in content["comparisons.csv"][:5]:
        row["flags"] = "odd_flag"
    told = {
        flag: (meaning, where)
        for flag, meaning, where in flags_by_name(load_results(write(content)))
    }
    assert told["few_clusters"][1] == "attention_alibi on heldout_mlm"
    assert told["few_seeds"][1] == "every arm on every task"
    assert told["odd_flag"][0] == ""
    assert told["odd_flag"][1].endswith("and 1 more")


def test_every_flag_of_the_statistics_has_a_meaning():
    for flag in (
        "uneven_seeds",
        "se_mismatch",
        "few_seeds",
        "few_clusters",
        "identical",
        "zero_variance",
        "too_few_units",
    ):
        assert flag_meaning(flag)
