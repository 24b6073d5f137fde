"""The grammar of target.units, and the names of the directories that units get."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fvis.errors import RequestError
from fvis.objectives.units import directory_name, parse_units

COUNTS = st.integers(1, 5000)
SEEDS = st.integers(0, 2**32)
LAYERS = st.one_of(
    st.just("logits"),
    st.lists(st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True), min_size=1, max_size=6).map(
        ".".join
    ),
)
UNITS = st.one_of(st.integers(0, 200_000), st.just("joint"))
REPEATS = st.one_of(st.none(), st.integers(0, 999))
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@given(COUNTS, st.data())
def test_one_number_is_one_unit(count: int, data: st.DataObject) -> None:
    unit = data.draw(st.integers(0, count - 1))
    assert parse_units(unit, count, 0) == parse_units(f" {unit} ", count, 0) == [unit]


@given(COUNTS, st.integers(0, 10_000))
def test_no_unit_beyond_the_last_is_let_through(count: int, beyond: int) -> None:
    with pytest.raises(RequestError, match=f"units 0 to {count - 1}"):
        parse_units(count + beyond, count, 0)


@given(st.integers(-10_000, -1), COUNTS)
def test_no_negative_unit_is_let_through(unit: int, count: int) -> None:
    for spec in (unit, str(unit), [unit]):
        with pytest.raises(RequestError):
            parse_units(spec, count, 0)


@given(COUNTS)
def test_all_is_every_unit_once(count: int) -> None:
    assert parse_units("all", count, 0) == list(range(count))


@given(COUNTS, st.data())
def test_a_slice_means_what_pythons_means(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    step = data.draw(st.integers(1, 20))
    units = list(range(count))
    assert parse_units(f"{start}:{stop}", count, 0) == units[start:stop]
    assert parse_units(f"{start}:{stop}:{step}", count, 0) == units[start:stop:step]
    assert parse_units(f"{start}:", count, 0) == units[start:]
    assert parse_units(f":{stop}", count, 0) == units[:stop]


@given(COUNTS, st.data())
def test_an_empty_slice_or_one_past_the_end_is_refused(count: int, data: st.DataObject) -> None:
    stop = data.draw(st.integers(0, count))
    beyond = data.draw(st.integers(count + 1, 2 * count + 1))
    for spec in (f"{count}:", f"{stop}:{stop}", f"0:{beyond}", f"0:{count}:0"):
        with pytest.raises(RequestError):
            parse_units(spec, count, 0)


@given(COUNTS, SEEDS, st.data())
def test_random_units_are_distinct_real_and_the_seeds_own(
    count: int, seed: int, data: st.DataObject
) -> None:
    wanted = data.draw(st.integers(1, min(count, 64)))
    units = parse_units(f"random:{wanted}", count, seed)
    assert len(units) == len(set(units)) == wanted
    assert set(units) <= set(range(count))
    assert parse_units(f"random:{wanted}", count, seed) == units


@given(COUNTS, st.data())
def test_a_list_is_its_parts_in_order_without_doubles(count: int, data: st.DataObject) -> None:
    units = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=20))
    expected = list(dict.fromkeys(units))
    assert parse_units(units, count, 0) == expected
    assert parse_units([str(unit) for unit in units], count, 0) == expected
    assert parse_units([*units, "all"], count, 0)[: len(expected)] == expected
    assert sorted(parse_units([*units, "all"], count, 0)) == list(range(count))


@given(st.one_of(st.text(max_size=12), st.floats(), st.booleans(), st.none()), COUNTS)
def test_any_spec_gives_real_distinct_units_or_one_line(spec: object, count: int) -> None:
    try:
        units = parse_units(spec, count, 0)
    except RequestError as error:
        assert "target.units" in str(error)
        assert "\n" not in str(error)
    else:
        assert units
        assert len(units) == len(set(units))
        assert set(units) <= set(range(count))


@pytest.mark.parametrize("spec", ["", "1,2", "1-3", "1.5", True, None, {}, "random:", "random:0"])
def test_what_is_no_unit_is_refused(spec: object) -> None:
    with pytest.raises(RequestError, match=r"target\.units"):
        parse_units(spec, 10, 0)


@given(LAYERS, UNITS, REPEATS)
def test_a_directory_name_is_legal_on_every_system(
    layer: str, unit: int | str, repeat: int | None
) -> None:
    name = directory_name(layer, unit, repeat)
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert not RESERVED.fullmatch(name)
    assert not name.endswith((".", " "))
    assert name not in (".", "..")


@given(st.text(min_size=1, max_size=30), st.text(max_size=30), REPEATS)
def test_even_a_strange_name_makes_a_plain_directory(
    layer: str, label: str, repeat: int | None
) -> None:
    name = directory_name(layer, f"direction-{label}", repeat)
    assert not set(name) & set('<>:"/\\|?*\0')
    assert all(unicodedata.category(char)[0] != "C" for char in name)


@given(LAYERS, st.lists(st.tuples(UNITS, REPEATS), unique=True, min_size=2, max_size=30))
def test_no_two_units_of_a_layer_share_a_directory(
    layer: str, keys: list[tuple[int | str, int | None]]
) -> None:
    names = {directory_name(layer, unit, repeat).lower() for unit, repeat in keys}
    assert len(names) == len(keys)


@given(LAYERS, st.integers(0, 99_999))
def test_the_name_is_the_layer_with_its_dots_and_the_unit_in_five_digits(
    layer: str, unit: int
) -> None:
    assert directory_name(layer, unit) == f"{layer}-{unit:05d}"
    assert directory_name(layer, unit, 3) == f"{layer}-{unit:05d}-r3"


@given(LAYERS, st.lists(st.integers(0, 99_999), unique=True, min_size=2, max_size=20))
def test_directories_sort_as_their_units_do(layer: str, units: list[int]) -> None:
    names = [directory_name(layer, unit) for unit in sorted(units)]
    assert sorted(names) == names
