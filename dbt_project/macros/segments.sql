{# Landing is a growing set of Parquet segments. A build reads a fixed set of them: those noted when it starts.
   `landing.segments` is that set; `landing.loaded_segments` says which model has read which, and is written in the
   same transaction as the model's rows, so a segment is read exactly once. Finding and reading files is each engine's own. #}

{% macro landing_path() %}{{ env_var('LEADTRAIL_HOME', '../.leadtrail') }}/landing{% endmacro %}

{% macro note_segments() %}{{ return(adapter.dispatch('note_segments')()) }}{% endmacro %}
{% macro default__note_segments() %}
  create schema if not exists landing;
  create table if not exists landing.loaded_segments (model varchar not null, segment varchar not null);
  create or replace table landing.segments as
    select split_part(segment, '/', 1) as provider, split_part(segment, '/', 2) as stream, segment
    from (select substr(file, length('{{ landing_path() }}/') + 1) as segment from glob('{{ landing_path() }}/*/*/*.parquet')) as files;
  {{ note_build() }}
{% endmacro %}

{# Paths of the segments this model must read now: all of the stream's, or the ones it has not read yet. #}
{% macro pending_segments(provider, stream) %}
  {%- set paths = [] -%}
  {%- if execute -%}
    {%- set noted = run_query("select count(*) from information_schema.tables where table_schema = 'landing' and table_name = 'segments'") -%}
    {%- if noted.columns[0].values()[0] | int > 0 -%}
      {%- set query -%}
        select segment from landing.segments
        where provider = '{{ provider }}' and stream = '{{ stream }}'
        {%- if is_incremental() %} and segment not in (select segment from landing.loaded_segments where model = '{{ this.identifier }}'){% endif %}
        order by segment
      {%- endset -%}
      {%- for segment in run_query(query).columns[0].values() -%}
        {%- do paths.append(landing_path() ~ '/' ~ segment) -%}
      {%- endfor -%}
    {%- endif -%}
  {%- endif -%}
  {{ return(paths) }}
{% endmacro %}

{% macro note_loaded(provider, stream) %}
  {%- if not is_incremental() %}
  insert into landing.touched_records select {{ this_build() }}, '{{ provider }}', '{{ stream }}', null;
  {%- endif %}
  insert into landing.loaded_segments
  select '{{ this.identifier }}', segment from landing.segments
  where provider = '{{ provider }}' and stream = '{{ stream }}'
    and segment not in (select segment from landing.loaded_segments where model = '{{ this.identifier }}')
{% endmacro %}
