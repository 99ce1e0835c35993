"""The classes that people may name: found by letters, whatever their case and accents."""

import secrets
from collections.abc import Callable

import numpy as np
import pytest

from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.class_names import search_key
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_classes import list_item_classes, list_newest_classes, list_reviewed_classes
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.logs.results import save_result
from ml.data.class_lists.class_search import ClassSearch
from ml.data.class_lists.known_classes import KnownClasses
from ml.data.feedback import known_labels, list_spellings
from ml.data.membership import Arrival, wait
from tests.ml.image_rows import add_item

AddImages = Callable[..., list[str]]
NAMES = ["Amanita muscaria", "amanita_pantherina", "Boletus edulis", "Cèpe d\u2019été", "Œdemansiella", "bløt"]


@pytest.fixture
def known() -> ClassSearch:
    return ClassSearch(NAMES)


def test_names_are_in_the_order_of_letters_whatever_their_case_and_accents(known: ClassSearch) -> None:
    assert known.names == [*NAMES[:2], "bløt", *NAMES[2:5]]
    assert ClassSearch([]).names == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Amanita muscaria", "Amanita muscaria"),
        ("AMANITA  MUSCARIA ", "Amanita muscaria"),
        ("amanita_muscaria", "Amanita muscaria"),
        ("Amanita pantherina", "amanita_pantherina"),
        ("CE\u0300PE D\u2019E\u0301TE\u0301", "Cèpe d\u2019été"),
        ("Cepe d\u2019ete", None),  # other accents may be another species
        ("Amanita", None),
        ("", None),
    ],
)
def test_a_whole_name_is_meant_whatever_its_case_and_blanks(known: ClassSearch, typed: str, meant: str | None) -> None:
    assert known.find(typed) == meant


def test_of_two_names_that_differ_by_case_the_typed_one_is_meant() -> None:
    both = ClassSearch(["amanita", "Amanita"])
    assert (both.find("Amanita"), both.find("amanita")) == ("Amanita", "amanita")
    assert both.find("AMANITA") in both.names


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("a", ["Amanita muscaria", "amanita_pantherina", "Œdemansiella"]),  # first what begins with it
        ("AMA", ["Amanita muscaria", "amanita_pantherina"]),
        ("amanita p", ["amanita_pantherina"]),
        ("usc", ["Amanita muscaria"]),
        ("cepe d'ete", ["Cèpe d\u2019été"]),
        ("CÉPÉ", ["Cèpe d\u2019été"]),
        ("oe", ["Œdemansiella"]),
        ("œ", ["Œdemansiella"]),
        ("blot", ["bløt"]),
        ("%", []),
        ("_", [*NAMES[:2], "bløt", *NAMES[2:5]]),  # a blank at the end is not yet a word
    ],
)
def test_letters_find_names_whatever_their_case_and_accents(known: ClassSearch, typed: str, names: list[str]) -> None:
    assert known.list_matches(typed, 20) == names


def test_a_list_is_as_long_as_it_may_be() -> None:
    known = ClassSearch(f"class {number:05}" for number in range(10_000))
    assert known.list_matches("", 20) == [f"class {number:05}" for number in range(20)]
    assert known.list_matches("9999", 20) == ["class 09999"]
    assert known.list_matches("99", 3) == ["class 00099", "class 00199", "class 00299"]
    assert len(known.list_near("clas 123", 20)) <= 20


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("amnita muscaria", "Amanita muscaria"),
        ("Amanita muscara", "Amanita muscaria"),
        ("bolets", "Boletus edulis"),
        ("edulis boletus", "Boletus edulis"),
        ("cepes d'ete", "Cèpe d\u2019été"),
    ],
)
def test_a_misspelt_name_is_near_the_right_one(known: ClassSearch, typed: str, first: str) -> None:
    assert known.find(typed) is None
    assert known.list_near(typed, 5)[0] == first


@pytest.mark.parametrize("typed", ["", " ", "zzz", "\N{MUSHROOM}", "\0", "x" * 200])
def test_nothing_is_near_what_looks_like_no_name(known: ClassSearch, typed: str) -> None:
    assert known.list_near(typed, 5) == []
    assert known.find_by_letters(typed) is None


def test_the_first_letters_are_enough(known: ClassSearch) -> None:
    assert known.find_by_letters("bol") == "Boletus edulis"
    assert known.find_by_letters("AMANITA") == "Amanita muscaria"
    assert known.find_by_letters("edulis") is None  # what only contains it, nobody has chosen
    assert ClassSearch(["amanita muscaria", "amanita"]).find_by_letters("Amanita") == "amanita"


@pytest.mark.parametrize("name", ["ﬀ", "İstanbul", "\u0301", "हिन्दी", "Straße", "ЁЛКА", "日本"])
def test_each_name_is_found_by_itself(name: str) -> None:
    known = ClassSearch([*NAMES, name])
    assert known.find(name) == name
    assert name in known.list_matches(name, 20)
    assert name in known.list_matches(name.upper(), 20)
    assert search_key(search_key(name)) == search_key(name)


@pytest.fixture
def fill(catalog: Catalog, add_images: AddImages) -> None:
    add_images(("cat", "dog"), 2)
    add_images("cat", 1, origin="harvested")
    add_images("owl", 2, split="evaluation", part="anchor")
    arrivals = [
        Arrival(ItemRecord("source", ImageRecord(secrets.token_hex(32), "image/png", 32, 32, 100)), Annotation((name,)))
        for name in ("fox", "fox", "dog")
    ]
    with catalog.begin() as connection:
        wait(connection, arrivals, "source")


@pytest.mark.usefixtures("fill")
def test_each_class_is_read_once_with_whether_only_sources_say_so(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        assert list_item_classes(connection) == {"cat": True, "dog": True, "fox": False, "owl": True}
        assert known_labels(connection) == {"cat", "dog", "owl"}
        assert list_spellings(connection) == ["cat", "dog", "owl", "fox"]


@pytest.mark.usefixtures("fill")
def test_people_may_name_what_the_next_model_knows_and_reviewers_what_any_model_said(
    catalog: Catalog, add_champion: Callable[..., None]
) -> None:
    add_champion(1, 0.9)  # of the classes a and b
    with catalog.begin() as connection:
        add_item(connection, "1" * 64)
        save_result(connection, "1" * 64, 1, Answer("once known", 0.6, 0.2, np.float32([0.4, 0.6])))
        add_item(connection, "2" * 64)
        save_result(connection, "2" * 64, 1, Answer(None, 0.6, 0.2, np.float32([0.4, 0.6])))
        assert list_reviewed_classes(connection) == ["dog", "fox", "once known"]
        assert list_newest_classes(connection) == ["b", "a"]
    classes = KnownClasses()
    assert classes.read(catalog, []).names == ["a", "b", "cat", "dog", "owl"]
    assert classes.read(catalog, [], with_stated=True).names == ["a", "b", "cat", "dog", "fox", "once known", "owl"]


def test_without_items_there_are_no_classes(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        assert list_item_classes(connection) == {}
        assert list_reviewed_classes(connection) == list_newest_classes(connection) == []


@pytest.mark.usefixtures("fill")
def test_names_are_kept_for_a_minute_and_for_seconds_when_one_is_missing(
    catalog: Catalog, add_images: AddImages
) -> None:
    now = [0.0]
    classes = KnownClasses(clock=lambda: now[0])
    assert classes.read(catalog, ["yak"]).names == ["cat", "dog", "owl", "yak"]
    assert classes.read(catalog, ["yak"], with_stated=True).names == ["cat", "dog", "fox", "owl", "yak"]
    assert classes.read(catalog, []).names == ["cat", "dog", "owl"]
    add_images("emu", 1)
    assert "emu" not in classes.read(catalog, ["yak"], is_missing=True).names  # nobody reads on and on by misspelling
    now[0] = 6
    assert "emu" not in classes.read(catalog, ["yak"]).names
    assert "emu" in classes.read(catalog, ["yak"], is_missing=True).names
    assert "emu" in classes.read(catalog, ["yak"]).names
    add_images("gnu", 1)
    now[0] = 67
    assert "gnu" in classes.read(catalog, ["yak"]).names
