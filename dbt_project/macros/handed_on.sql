{# What a model of touched rows made in this build is kept beside it, and the models that hang on it read that instead of looking for the
   same rows in all of its table: of a table of millions, finding some thousand costs more than what is then done with them.

   `config.hands_on` says that a model does. What it made goes into a schema beside its own, until the next build begins; `landing.handed_on`
   says from which progress on it is complete, and how much of the log it saw. Who has read the log less far, or finds that it has grown since
   (`touch_moved_first_days`), looks in the table. #}

{% macro fresh_schema() %}{{ return('__fresh') }}{% endmacro %}

{% macro fresh_relation(relation) %}{{ return(relation.incorporate(path={'schema': relation.schema ~ fresh_schema()}, type='table')) }}{% endmacro %}

{# Statements that forget what the last build handed on. #}
{% macro forget_handed_on() %}
  create table if not exists landing.handed_on (model {{ text_type() }} not null, since bigint not null, saw bigint not null);
  delete from landing.handed_on;
  {%- if execute %}
  {%- for row in run_query("select schema_name from information_schema.schemata where schema_name like '%" ~ fresh_schema() ~ "'").rows %}
  drop schema {{ row[0] }} cascade;
  {%- endfor %}
  {%- endif %}
{% endmacro %}

{# Whether this model hands on what it makes now: not if that is everything. #}
{% macro hands_on() %}
  {{ return(config.get('hands_on', false) and not everything_touched(config.require('touched')[0])) }}
{% endmacro %}

{# Keep what this model makes now, and say since when it is complete. #}
{% macro hand_on(relation, query) %}
  {% do adapter.create_schema(relation) %}
  {% call statement('fresh') %}
    drop table if exists {{ relation }};
    create table {{ relation }} as ({{ query }});
    insert into landing.handed_on
    select '{{ this.identifier }}', {{ progress() }}, count(*) from landing.touched_{{ config.require('touched')[0] }} where build > {{ progress() }}
  {% endcall %}
{% endmacro %}

{# The rows of `relation` whose clusters are touched, as a relation to select from. #}
{% macro touched_rows(relation) -%}
  {%- if everything_touched('clusters') -%}{{ relation }}
  {%- else -%}
    {%- set handed = run_query("select count(*) from landing.handed_on as handed where model = '" ~ relation.identifier ~ "' and since <= " ~ progress()
        ~ " and saw = (select count(*) from landing.touched_clusters where build > handed.since)").rows[0][0] > 0 -%}
    (select * from {{ fresh_relation(relation) if handed else relation }} where cluster_id in {{ pending('clusters') }})
  {%- endif -%}
{%- endmacro %}
