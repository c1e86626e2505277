{# Every base model, one line for each stream. A test compares this list with the models that exist. #}
{% macro base_models() %}
  {{ return([
    'base_search_console__by_date',
  ]) }}
{% endmacro %}

{# base_<provider>__<stream> #}
{% macro provider_of(base) %}{{ return(base.removeprefix('base_').split('__')[0]) }}{% endmacro %}
{% macro stream_of(base) %}{{ return(base.split('__')[1]) }}{% endmacro %}
