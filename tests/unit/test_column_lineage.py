"""Column lineage leads from every staged column back to the raw payload it was read from."""

from __future__ import annotations

from pathlib import Path

from pipeline.column_lineage import parents_of

TABLES = {"staging": {"base_a__x": {"id": "varchar", "items": "varchar"}, "base_b__y": {"id": "varchar"}}}


def read(sql: str, tmp_path: Path, name: str = "stg_a__x") -> dict[str, list[tuple[str, str]]]:
    return parents_of({"name": name}, [], sql, TABLES, tmp_path)


def test_a_column_is_followed_through_ctes_unions_and_expressions(tmp_path: Path) -> None:
    sql = """
        with a as (select * from "warehouse"."staging"."base_a__x"),
        both_of as (select id, 'a' as kind from a union all select id, 'b' from "warehouse"."staging"."base_b__y")
        select upper(id) as id, kind from both_of
    """
    assert read(sql, tmp_path) == {"id": [("staging.base_a__x", "id"), ("staging.base_b__y", "id")], "kind": []}


def test_the_elements_of_an_array_come_from_the_array(tmp_path: Path) -> None:
    sql = """
        with a as (select * from "warehouse"."staging"."base_a__x")
        select a.id, json_extract_string(each_item.item, '$."t"') as text from a
        cross join lateral (select unnest(cast(items as json[])) as item) as each_item
    """
    assert read(sql, tmp_path) == {"id": [("staging.base_a__x", "id")], "text": [("staging.base_a__x", "items")]}


def test_a_base_column_comes_from_the_raw_payload_and_the_envelope_from_itself(tmp_path: Path) -> None:
    parents = parents_of({"name": "base_callrail__calls"}, ["call_id", "received_at", "record_key"], "", {}, tmp_path)
    assert parents["call_id"] == [("callrail.calls", "payload")]
    assert parents["received_at"] == [("callrail.calls", "received_at")]
    assert parents["record_key"] == [("callrail.calls", "client_id"), ("callrail.calls", "record_id")]


def test_lineage_is_worked_out_once_for_each_version_of_the_sql(tmp_path: Path) -> None:
    sql = 'select id from "warehouse"."staging"."base_b__y"'
    read(sql, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text('{"id": [["staging.kept", "id"]]}')
    assert read(sql, tmp_path) == {"id": [("staging.kept", "id")]}
    assert read(sql + " ", tmp_path) == {"id": [("staging.base_b__y", "id")]}


def test_a_build_that_only_counts_further_reads_nothing_off_again(tmp_path: Path) -> None:
    sql = 'select id from "warehouse"."staging"."base_a__x" where build > {}'
    read(sql.format(17), tmp_path)
    read(sql.format(18), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_build_of_other_news_reads_nothing_off_again(tmp_path: Path) -> None:
    sql = 'select id as "it" -- nobody\'s\nfrom "warehouse"."staging"."base_a__x" as x where {}'
    for where in ("x.id in ('it''s')", "x.id in ('a', 'b,c', 'd')", "false"):
        read(sql.format(where), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    read(sql.replace("id as", "items as").format("false"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_list_of_values_among_the_columns_is_read_off_for_itself(tmp_path: Path) -> None:
    sql = 'select {} from "warehouse"."staging"."base_a__x"'
    read(sql.format("1 as a, 2 as b, id"), tmp_path)
    read(sql.format("1, id"), tmp_path)
    read(sql.format("1, 2, id"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_rows_a_model_has_just_made_and_handed_on_are_that_model_s(tmp_path: Path) -> None:
    sql = """select id from (select * from "warehouse"."staging__fresh"."base_b__y" where id in ('a')) as touched"""
    assert read(sql, tmp_path) == {"id": [("staging.base_b__y", "id")]}
