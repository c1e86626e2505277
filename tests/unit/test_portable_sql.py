"""Models speak the SQL that DuckDB, PostgreSQL 15 and Spark 3.5 share; what differs stays in macros dispatched by engine.

This reads the text of models and macros. Comments and quoted text are not looked at; SQL that a model hands to a macro as a
Jinja string is. It knows words, not meanings: what engines make of words they share is in docs/decisions/portable-sql.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment

PROJECT = Path(__file__).parents[2] / "dbt_project"
ENGINES = "default|duckdb|postgres|spark"

FUNCTIONS = " ".join(
    (
        r"arg_max arg_min argmax argmin max_by min_by any_value first last median mode quantile\w* approx_\w+",
        r"string_agg listagg group_concat array_agg list list_\w+ array array_\w+ map map_\w+ struct struct_\w+ row",
        r"unnest explode posexplode inline flatten generate_series generate_subscripts range sequence element_at transform",
        r"try try_cast if iff ifnull nvl nvl2 decode isnull count_if sum_if bool_and bool_or",
        r"strptime try_strptime strftime date_format date_part date_diff datediff date_sub date_add dateadd datesub age",
        r"epoch epoch_\w+ unix_\w+ make_\w+ to_\w+ from_\w+ timestamp_\w+ last_day dayname monthname",
        r"year quarter month week weekday day dayofweek dayofyear isodow hour minute second",
        r"regexp_\w+ regexp rlike json\w* try_json\w* get_json_object",
        r"starts_with ends_with startswith endswith prefix suffix contains strpos instr locate charindex",
        r"concat string_split str_split split format printf format_string hash xxhash64 sha256 sha2",
        r"read_\w+ input_file_name columns",
    )
).split()

# what is refused -> (how it is recognised, an example, whether SQL given as a Jinja string is looked at too)
REFUSED: dict[str, tuple[str, str, bool]] = {
    "a function of one engine": (
        rf"(?<![\w.])(?:{'|'.join(FUNCTIONS)})\s*\(",
        "select arg_max(stage, at) as stage from events",
        True,
    ),
    "a cast with ::": (r"::", "select amount::bigint from events", True),
    "qualify": (r"\bqualify\b", "select * from events qualify row_number() over (order by at) = 1", True),
    "group by all, order by all": (
        r"\b(?:group|order)\s+by\s+all\b",
        "select a, count(*) from events group by all",
        True,
    ),
    "select * exclude, replace, rename": (
        r"(?:\bselect|\bdistinct|[,.])\s*\*\s*(?:exclude|except|replace|rename)\b",
        "select events.* replace (1 as n) from events",
        True,
    ),
    "distinct on": (r"\bdistinct\s+on\b", "select distinct on (lead_id) * from events", True),
    "ignore nulls": (
        r"\b(?:ignore|respect)\s+nulls\b",
        "select lag(a ignore nulls) over (order by b) from events",
        True,
    ),
    "a join that not all have": (
        r"\b(?:asof|positional|semi|anti)\s+(?:left\s+)?join\b",
        "select * from events asof join prices on events.at >= prices.at",
        True,
    ),
    "recursion": (
        r"\bwith\s+recursive\b|\busing\s+key\b",
        "with recursive up as (select 1 as n) select * from up",
        True,
    ),
    "lateral": (r"\blateral\b", "select * from events cross join lateral (select 1) as one", True),
    "union by name": (r"\bunion\s+(?:all\s+)?by\s+name\b", "select a from b union all by name select a from c", True),
    "pivot, sampling": (
        r"\b(?:un)?pivot\b|\busing\s+sample\b|\btablesample\b",
        "pivot events on kind using count(*)",
        True,
    ),
    "at time zone": (r"\bat\s+time\s+zone\b", "select at at time zone 'UTC' from events", True),
    "a part of a time that not all extract": (
        r"\bextract\s*\(\s*(?!(?:year|month|day|hour|minute|second)\b)\w+",
        "select extract(isodow from day) from days",
        True,
    ),
    "an interval not written interval '1' day": (
        r"\binterval\b(?!\s*' *'\s*(?:year|month|day|hour|minute|second)\b)",
        "select at + interval '7 days' from events",
        True,
    ),
    "ilike, similar to, glob": (
        r"\bilike\b|\bsimilar\s+to\b|\bglob\b",
        "select * from events where name ilike 'a%'",
        True,
    ),
    "a match by ~": (r"(?<!\w)!?~{1,3}\*?(?=\s)", "select * from events where name ~ '^a'", False),
    "a type not all know": (
        r"\b(?:varchar|hugeint|u?tinyint|u(?:big|small)int|uinteger|timestamptz|jsonb)\b(?!\s*\()"
        r"|\bas\s+(?:string|timestamp_\w+|double|float|real|json|blob|bytea)\b",
        "select cast(a as varchar) from events",
        True,
    ),
    "a statement not all know": (
        r"\bcreate\s+or\s+replace\s+(?:temp\w*\s+)?table\b|\binsert\s+or\b|\bon\s+conflict\b|^\s*(?:pragma|attach|copy|install)\b",
        "create or replace table a as select 1 as b",
        True,
    ),
    "-> (a lambda, or JSON)": (r"->", "select payload->>'$.id' from events", True),
    "==": (r"==", "select * from events where a == b", True),
    "// (whole division)": (r"//", "select seconds // 60 from events", False),
    "brackets or braces (lists, structs)": (r"[\[{]", "select names[1] from events", False),
    "double quotes (text to Spark)": (r'"', 'select "a b" from events', False),
}

ENGINE_MACRO = re.compile(rf"\{{%-?\s*macro\s+({ENGINES})__(\w+)\(.*?\{{%-?\s*endmacro\s*-?%\}}", re.S)
SQL_QUOTED = re.compile(r"'(?:''|[^'])*'|--[^\n]*|/\*.*?\*/", re.S)
MESSAGES = {"log", "raise_compiler_error", "warn"}
JINJA = Environment(autoescape=True)


def blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def without_quoted(sql: str) -> str:
    """Quoted text and comments blanked, everything else where it was."""

    def quiet(found: re.Match[str]) -> str:
        return f"'{blank(found[0][1:-1])}'" if found[0][0] == "'" else blank(found[0])

    return SQL_QUOTED.sub(quiet, sql)


def at_line(line: int, text: str, more: str) -> str:
    return text + "\n" * (line - 1 - text.count("\n")) + more


def parts_of(text: str) -> tuple[str, list[str]]:
    """What is SQL by itself, and for each Jinja block what it says in its strings; every line where it was."""
    sql, blocks, names = "", [""], set()
    for line, kind, token in JINJA.lex(ENGINE_MACRO.sub(lambda found: blank(found[0]), text)):
        if kind == "data":
            sql = at_line(line, sql, token)
        elif kind in ("variable_begin", "block_begin"):
            sql, names = at_line(line, sql, " "), set()
            blocks.append("")
        elif kind in ("variable_end", "block_end") and names & MESSAGES:
            blocks.pop()
        elif kind == "string":
            blocks[-1] = at_line(line, blocks[-1], " " + re.sub(r"\\(.)", r"\1", token[1:-1]))
        elif kind == "name":
            names.add(token)
    return without_quoted(sql), [without_quoted(block) for block in blocks if block]


def refused(text: str) -> list[tuple[int, str]]:
    """(line, what) for all that this file may not say."""
    sql, blocks = parts_of(text)
    hits = set()
    for what, (pattern, _, also_in_strings) in REFUSED.items():
        for part in [sql, *blocks] if also_in_strings else [sql]:
            for hit in re.finditer(pattern, part, re.I | re.M):
                hits.add((part.count("\n", 0, hit.start()) + 1, what))
    return sorted(hits)


def files() -> Iterator[Path]:
    for folder in ("models", "macros", "tests", "snapshots", "analyses"):
        yield from sorted((PROJECT / folder).rglob("*.sql"))


def test_models_and_macros_speak_the_shared_dialect() -> None:
    read = list(files())
    assert len(read) > 100
    found = [f"{path.relative_to(PROJECT)}:{line}: {what}" for path in read for line, what in refused(path.read_text())]
    assert found == [], "\n".join(["put it behind a macro in macros/portable.sql:", *found])


def test_what_is_an_engines_own_is_reached_by_dispatch_alone() -> None:
    text = "\n".join(path.read_text() for path in files())
    own = {(found[1], found[2]) for found in ENGINE_MACRO.finditer(text)}
    assert len(own) > 30
    assert [name for _, name in own if f"adapter.dispatch('{name}')" not in text] == []
    assert [name for _, name in own if ("default", name) not in own] == []
    assert re.findall(rf"(?<!macro )\b(?:{ENGINES})__\w+\(", text) == []


@pytest.mark.parametrize("what", REFUSED)
def test_each_construct_is_found_and_found_only_where_it_is_sql(what: str) -> None:
    _, example, also_in_strings = REFUSED[what]
    assert (2, what) in refused(f"-- a model\n{example}\n")
    assert (2, what) in refused("{% macro rows() %}\n" + example + "\n{% endmacro %}")
    if also_in_strings:
        assert (2, what) in refused('{{ rows({\n"service": "' + example + '"}) }}')
        assert (2, what) in refused("{% do run_query(\n" + repr(example) + ") %}")
    for quiet in (
        f"-- {example}\nselect 1",
        f"/* {example} */ select 1",
        "{# " + example + " #} select 1",
        "select '" + example.replace("'", "''") + "' as text",
        "{{ log(" + repr(example) + ") }}",
        "{% macro default__rows() %}" + example + "{% endmacro %}",
        "{%- macro spark__rows(a) -%}" + example + "{%- endmacro -%}",
    ):
        assert refused(quiet) == [], quiet


def test_each_function_of_one_engine_is_found() -> None:
    for function in (one.replace(r"\w*", "").replace(r"\w+", "x") for one in FUNCTIONS):
        assert refused(f"select {function}(a) from b") == [(1, "a function of one engine")]
        assert refused("{{ " + function + "('a') }}, b." + function + "_, '" + function + "(a)'") == []


def test_shared_sql_and_jinja_raise_no_alarm() -> None:
    assert (
        refused("""
        {{ config(post_hook="{{ note() }}", touched=['a', 'b'], where={'c': {'d': 1}}) }}
        {%- for path in paths if path.startswith('a') and path.split('[')[0] != 'keys[1]' -%}
        {{ path // 2 }}
        {%- endfor -%}
        with a as (
            select *, a.*, cast(b as {{ text_type() }}) as text, it.list, 2 * replace(c, 'x', '') as first
            from {{ ref('d') }}
        )
        select
            '{{ kind }}:' || {{ phone_e164("split_part(text, '/', 1)") }} as id,
            at + seconds * interval '1' second as ends_at, {{ unnest('a') }}, {{ other.unnest(1) }},
            sum(case when text like '[%' then 1 end) filter (where b <> 1) over (partition by c order by d) as n,
            percentile_cont(0.5) within group (order by d) as middle, cast(extract(year from at) as decimal(9, 6)) as e
        from a left join b on a.id = b.id and (a.x, a.y) > (b.x, b.y)
        where exists (select 1 from c) group by 1, 2 -- isn't it: a::b
    """)
        == []
    )
