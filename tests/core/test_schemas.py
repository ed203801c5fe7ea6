import pytest

from rollout.core.schemas import check, example, faults

ADDRESS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "sandbox"),
        ({"type": "string", "minLength": 10}, "sandbox sa"),
        ({"type": "string", "maxLength": 3}, "san"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "integer", "minimum": 4, "multipleOf": 5}, 5),
        ({"type": "number", "minimum": 0.5}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 0),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"enum": ["b", "a"]}, "b"),
        ({"default": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"enum": [5]}]}, 5),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"type": "array", "items": {"type": "integer"}}, [0]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, []),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3}, [1, 2, 2]),
        ({"items": {"const": 1}}, [1]),
        ({"properties": {"a": {"type": "integer"}}, "required": ["b"]}, {"a": 0, "b": "sandbox"}),
        ({"$defs": {"a": ADDRESS}, "$ref": "#/$defs/a"}, {"city": "sandbox"}),
        ({"allOf": [ADDRESS, {"properties": {"zip": {"const": 1}}}]}, {"city": "sandbox", "zip": 1}),
        (True, None),
        ({}, "sandbox"),
    ],
)
def test_the_example_fits_the_schema(schema, value):
    assert example(schema) == value


def test_a_schema_that_refers_to_itself_ends():
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}, "all": {"type": "array", "items": {"$ref": "#"}}},
    }
    assert "next" in example(node)


def test_what_is_known_fills_the_properties_of_that_name_where_it_fits():
    schema = {
        "type": "object",
        "properties": {
            "summary": {"type": "string"},
            "labels": {"type": "array", "items": {"type": "string"}},
        },
    }
    known = {"summary": [7, "a fox"], "labels": [[1], ["x"]], "other": ["never"]}
    assert example(schema, known) == {"summary": "a fox", "labels": ["x"]}


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"type": "string"}, ["", "a"], [1, None, True]),
        ({"type": "integer"}, [0, -3, 4.0], [0.5, "1", True]),
        ({"type": "number"}, [0, 0.5], ["1", False]),
        ({"type": "boolean"}, [True], [1, "true"]),
        ({"type": ["null", "string"]}, [None, "a"], [1]),
        ({"enum": ["a", None]}, ["a", None], ["b"]),
        ({"const": 1}, [1], [2]),
        ({"anyOf": [{"type": "null"}, {"enum": ["a"]}]}, [None, "a"], ["b", 1]),
        ({"type": "array", "items": {"type": "string"}}, [[], ["a"]], [["a", 1], "a"]),
        ({**ADDRESS, "additionalProperties": False}, [{"city": "Ulm"}], [{}, {"city": "Ulm", "zip": 1}]),
    ],
)
def test_a_value_fits_a_schema_or_the_fault_is_told(schema, fits, does_not):
    for value in fits:
        assert list(faults(schema, value)) == []
    for value in does_not:
        assert list(faults(schema, value))


@pytest.mark.parametrize(
    "schema", ["object", None, [], {"type": "thing"}, {"type": {}}, {"properties": [1]}, {"items": 3}]
)
def test_what_is_no_schema_is_told(schema):
    with pytest.raises(ValueError, match=r"schema|type|properties"):
        check(schema)


def test_a_schema_without_surprises_passes():
    check({"type": "object", "properties": {"a": {"type": ["null", "array"], "items": {}}, "b": True}})
