"""Product tables as they are uploaded: what is read of a CSV file, and every fault by its line."""

from __future__ import annotations

import pytest

from rollout.core import products
from rollout.core.products import Product, read_products, read_sheet, terms, weights, within, words
from rollout.errors import InvalidRequest


def faults(data: bytes | str, id_column: str = "id") -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as refused:
        read_sheet(data if isinstance(data, bytes) else data.encode(), id_column)
    assert refused.value.members["param"] == refused.value.members["errors"][0]["param"]
    return [(fault["param"], fault["message"]) for fault in refused.value.members["errors"]]


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_with_a_byte_order_mark_or_without_in_any_lines(begin: bytes, end: str) -> None:
    text = end.join(["id,name,note", 'A-1,Oat drink,"creamy, sweet"', "", 'A-2,"Straße ""7""",', ""])

    sheet = read_sheet(begin + text.encode(), "id")

    assert sheet.columns == ("id", "name", "note")
    assert sheet.products == (
        Product("A-1", {"name": "Oat drink", "note": "creamy, sweet"}),
        Product("A-2", {"name": 'Straße "7"'}),
    )


def test_another_column_may_name_the_rows() -> None:
    assert read_sheet(b"name,ean\nMilk,40\n", "ean").products == (Product("40", {"name": "Milk"}),)


def test_each_fault_is_named_with_its_line_also_below_a_field_of_several_lines() -> None:
    text = 'id,name\nA,"one\ntwo"\nA,again\nB\n,no id\nC,ok\nD,a,b\n'

    assert faults(text) == [
        ("line 4", "the id 'A' was there before."),
        ("line 5", "there are 1 fields where the header has 2."),
        ("line 6", "the id 'id' has 1 to 200 characters."),
        ("line 8", "there are 3 fields where the header has 2."),
    ]


def test_no_more_faults_are_named_than_somebody_reads() -> None:
    assert len(faults("id,name\n" + "x\n" * 1_000)) == products.MAX_FAULTS


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"", "line 1", "header row is missing"),
        (b"id,name\n", "line 2", "no row"),
        (b"sku,name\nA,b\n", "line 1", "no column 'id' among sku, name"),
        (b"id;name\nA;b\n", "line 1", "no column 'id'"),
        (b"id,name,name\nA,b,c\n", "line 1", "a name of its own"),
        (b"id,\nA,b\n", "line 1", "a name of its own"),
        (b"id,name\nA,b\nB,\xff\n", "line 3", "not UTF-8"),
        (b"id,name\nA,b\x00\n", "line 2", "NUL"),
        (b'id,name\nA,"b"c\n', "line 2", "expected after"),
        (b'id,name\nA,b\nB,"never ends\n', "line 3", "unexpected end of data"),
        (b"id,name\nA," + b"x" * 2_001 + b"\n", "line 2", "2,001 characters; at most 2,000"),
        (b"id,name\nA," + b"x" * 200_000 + b"\n", "line 2", "field larger than field limit"),
        (b"id,name\n" + b"x" * 201 + b",b\n", "line 2", "1 to 200 characters"),
        (b"id,a,b,c,d,e\nA" + (b"," + b"x" * 2_000) * 5 + b"\n", "line 2", "more than 4,000 characters"),
        (",".join(["id", *map(str, range(50))]).encode() + b"\n", "line 1", "51 columns; at most 50"),
    ],
)
def test_what_is_no_table_is_refused_where_it_goes_wrong(data: bytes, line: str, says: str) -> None:
    ((found, message), *_) = faults(data)

    assert found == line
    assert says in message


def test_a_column_may_not_take_the_place_of_the_ids() -> None:
    assert faults("id,ean\n7,40\n", "ean") == [
        ("line 1", "a column 'id' beside the ids in 'ean' has to be called otherwise.")
    ]


def test_the_largest_row_fits_into_what_is_reserved_for_candidates() -> None:
    row = ",".join(["A", *("\x01" * 1_999 for _ in range(2))])
    (product,) = read_sheet(f"id,a,b\n{row}\n".encode(), "id").products

    assert within([product], products.MAX_CANDIDATE_BYTES) == [product]


def test_a_table_that_separates_by_semicolons_is_told_to_use_commas() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_sheet(b"id;name\nA;b\n", "id")
    assert refused.value.remedy_text == "Separate the columns by commas."


def test_there_may_not_be_more_rows_than_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MAX_ROWS", 3)

    assert len(read_sheet(b"id\n1\n2\n3\n", "id").products) == 3
    assert faults(b"id\n1\n2\n3\n4\n") == [("line 5", "there are more than 3 rows.")]


def test_words_have_no_case_and_stand_between_spaces() -> None:
    assert words(["Oat-Drink 1L, OAT", "Größe_7"]) == ["oat", "drink", "1l", "grösse", "7"]
    assert Product("A-7", {"name": "Oat drink", "size": "1 L"}).search == " a 7 oat drink 1 l "


def test_the_first_words_are_looked_for_but_no_letter_that_stands_alone() -> None:
    assert terms(["a drink, 1 l", "DRINK 4006381333931"]) == ["drink", "1", "4006381333931"]
    assert terms([" ".join(f"word{number}" for number in range(100))])[-1] == f"word{products.MAX_TERMS - 1}"


def test_a_rare_word_weighs_more_and_one_that_is_nowhere_nothing() -> None:
    found = weights({"drink": 5_000, "northlight": 20, "4006381333931": 1, "zzyzx": 0}, 10_000)

    assert list(found) == ["drink", "northlight", "4006381333931"]
    assert 0 < found["drink"] < found["northlight"] < found["4006381333931"]
    assert weights({"every": 3}, 3)["every"] > 0


def test_candidates_stay_within_what_was_reserved_for_them() -> None:
    rows = [Product(str(number), {"text": '"\\' * 100}) for number in range(100)]

    assert 0 < len(within(rows, 10_000)) < 100
    assert within(rows[:1], 10) == []


def test_rows_of_a_request_may_hold_numbers_and_nothing() -> None:
    assert read_products(
        [{"id": 7, "name": " Milk ", "price": 1.5, "note": None, "size": ""}], "products"
    ) == [Product("7", {"name": "Milk", "price": "1.5"})]


@pytest.mark.parametrize(
    ("rows", "param"),
    [
        ([], "products"),
        ([{"id": str(number)} for number in range(51)], "products"),
        ([{"name": "no id"}], "products.0.id"),
        ([{"id": ""}], "products.0.id"),
        ([{"id": "x" * 201}], "products.0.id"),
        ([{"id": "A"}, {"id": "A"}], "products.1.id"),
        ([{"id": "A", "name": ["x"]}], "products.0.name"),
        ([{"id": "A", "name": True}], "products.0.name"),
        ([{"id": "A", "name": "x" * 2_001}], "products.0.name"),
        ([{"id": "A", **{f"c{number}": "x" for number in range(50)}}], "products.0"),
        ([{"id": str(number), "a": "x" * 1_500} for number in range(40)], "products"),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_its_field(rows: list[dict[str, object]], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_products(rows, "products")
    assert refused.value.members["param"] == param
