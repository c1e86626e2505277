{# dbt-duckdb's own materialization, without what a table that is built on never needs: it looks up the columns of both tables three
   times and plans the query twice to compare it with its contract, for each of sixty models in every build. Columns change only with the
   code, and other code is a full refresh, where the contract is compared (pipeline/build_plan.py). #}
{% materialization incremental, adapter='duckdb' %}
  {%- set target = this.incorporate(type='table') -%}
  {%- set existing = load_cached_relation(this) -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- if existing is none or should_full_refresh() -%}
    {%- if existing -%}{% do adapter.drop_relation(existing) %}{%- endif -%}
    {% call statement('main') %}{{ create_table_as(False, target, compiled_code) }}{% endcall %}
  {%- else -%}
    {%- set handed_on = hands_on() -%}
    {%- if handed_on -%}
      {%- set fresh = fresh_relation(target) -%}
      {% do hand_on(fresh, compiled_code) %}
    {%- else -%}
      {%- set fresh = make_temp_relation(target).include(database=False, schema=False) -%}
      {% call statement('fresh') %}create temporary table {{ fresh }} as ({{ compiled_code }}){% endcall %}
    {%- endif -%}
    {%- set strategy = adapter.get_incremental_strategy_macro(context, config.require('incremental_strategy')) -%}
    {% call statement('main') %}
      {{ strategy({'target_relation': target, 'temp_relation': fresh, 'dest_columns': adapter.get_columns_in_relation(existing)}) }};
      {{ 'drop table ' ~ fresh if not handed_on }}
    {% endcall %}
  {%- endif -%}
  {% do persist_docs(target, model) %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}
