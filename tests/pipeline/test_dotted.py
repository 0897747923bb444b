"""Dotted names of the values of a nested document."""

from pipeline.dotted import flattened, value_at, with_value

DOCUMENT = {"a": {"b": 1, "c": {"d": [1, 2]}, "e": {}}, "s": [{"name": "x", "w": 2}, {"w": 3}]}


def test_every_value_has_a_name():
    expected = {"a.b": 1, "a.c.d": [1, 2], "a.e": {}, "s.x.name": "x", "s.x.w": 2, "s.1.w": 3}
    assert dict(flattened(DOCUMENT)) == expected


def test_a_value_is_found_under_its_name_or_there_is_none():
    assert (value_at(DOCUMENT, "a.c.d"), value_at(DOCUMENT, "a")) == ([1, 2], DOCUMENT["a"])
    assert (value_at(DOCUMENT, "a.x.y"), value_at(DOCUMENT, "a.b.c")) == (None, None)


def test_another_value_leaves_the_document_alone_and_makes_the_tables_above_it():
    changed = with_value(with_value(DOCUMENT, "a.b", 5), "new.one", True)
    assert (changed["a"]["b"], changed["a"]["c"], changed["new"]) == (5, {"d": [1, 2]}, {"one": True})
    assert DOCUMENT["a"]["b"] == 1
    assert with_value(DOCUMENT, "a.b.c", 7)["a"]["b"] == {"c": 7}
