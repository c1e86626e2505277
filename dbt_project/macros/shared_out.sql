{# Largest remainder: a whole amount shared out by whole weights, in whole parts that sum to it exactly. What is left after rounding
   down goes, one each, to those who lost most by it; ties by channel. Whole numbers only, so every engine and every order of rows
   gives the same parts.

   `relation` has `columns` and, among them or beside them: `keys` (what is shared out together), `channel`, `amount` (the same within
   keys; may be negative), `weight` and `total` (the sum of weights within keys, over 0). The result is `columns` and `part`, for
   weights over 0. Who takes all needs no window, and most do. #}
{% macro shared_out(relation, columns, keys, amount, weight, total) %}
{%- set columns = columns | join(', ') -%}
select {{ columns }}, cast({{ amount }} as bigint) as part
from {{ relation }}
where {{ weight }} = {{ total }}

union all

select {{ columns }}, cast(sign * (cut + case when place <= whole - all_cut then 1 else 0 end) as bigint) as part
from (
    select
        divided.*,
        sum(cut) over (partition by {{ keys | join(', ') }}) as all_cut,
        row_number() over (partition by {{ keys | join(', ') }} order by rest desc, channel) as place
    from (
        select
            {{ relation }}.*,
            abs({{ amount }}) as whole,
            case when {{ amount }} < 0 then -1 else 1 end as sign,
            {{ whole_parts('abs(' ~ amount ~ ') * ' ~ weight, total) }} as cut,
            mod(abs({{ amount }}) * {{ weight }}, {{ total }}) as rest
        from {{ relation }}
        where {{ weight }} > 0 and {{ weight }} < {{ total }}
    ) as divided
) as placed
{% endmacro %}

{# Credit is kept in millionths until it is shown. #}
{% macro all_credit() %}1000000{% endmacro %}
