{# Each row has a value of its own: `unique` and `not_null` in one look. A test of a short build costs more to start than to run. #}
{% test is_key(model, column_name) %}
select {{ column_name }} as found, count(*) as in_rows
from {{ model }}
group by {{ column_name }}
having count(*) > 1 or {{ column_name }} is null
{% endtest %}
