{# Each row has a value of its own: `unique` and `not_null` in one look. Half of the time of a short build goes into starting tests. #}
{% test is_key(model, column_name) %}
select {{ column_name }} as found, count(*) as in_rows
from {{ model }}
group by {{ column_name }}
having count(*) > 1 or {{ column_name }} is null
{% endtest %}
