"""The one sentence about an unknown name."""

from lightning_dna.errors import unknown_name


def test_all_names_where_they_are_few():
    text = str(unknown_name("task", "b", ["c", "a"], where="x.yaml: tasks"))
    assert text == "x.yaml: tasks: unknown task 'b'; allowed: a, c."


def test_the_nearest_where_they_are_many():
    names = [f"suite-{index:03d}/full" for index in range(300)]
    text = str(unknown_name("task", "suite-123/ful", names))
    shown = text.partition("allowed: ")[2].partition(" and 280 more.")[0].split(", ")
    assert len(shown) == 20
    assert shown == sorted(shown)
    assert "suite-123/full" in shown
    assert text.endswith("Did you mean 'suite-123/full'?")
