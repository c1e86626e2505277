{# What a client may see is made of what var('client_safe_may_read') lists, and of nothing else. dbt's groups keep out staging and
   intermediate models, which are private. Marts that speak of single leads have readers outside dbt, so they cannot be private, and
   sources and seeds know no groups: for these, dbt's own `ref` and `source` look here first. #}

{% macro ref() %}
  {%- do only_what_clients_may_see(varargs[-1]) -%}
  {{ return(builtins.ref(*varargs, **kwargs)) }}
{% endmacro %}

{% macro source() %}
  {%- do only_what_clients_may_see(varargs | join('.')) -%}
  {{ return(builtins.source(*varargs)) }}
{% endmacro %}

{% macro only_what_clients_may_see(name) %}
  {%- set may_read = var('client_safe_may_read') -%}
  {%- if model is defined and model.resource_type == 'model' and 'client_safe' in model.fqn[1:-1]
      and name not in may_read and not name.startswith('safe_') -%}
    {%- do exceptions.raise_compiler_error(
        model.name ~ " is client-safe and may not read " ~ name ~ ". It may read: " ~ may_read | join(", ")
    ) -%}
  {%- endif -%}
{% endmacro %}
