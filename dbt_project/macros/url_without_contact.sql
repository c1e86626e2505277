{# A URL without what says who visited: parameters named or shaped like an e-mail address or a phone number, and addresses
   anywhere else in it. Ten digits, or eleven after a 1, are a phone; ad ids are longer or begin otherwise. #}
{% macro url_without_contact(column) -%}
{%- set phone = '(%2B|[+])?1?([ .+-]|%20|[(]|%28)*[0-9]{3}([ .+)-]|%20|%29)*[0-9]{3}([ .+-]|%20)*[0-9]{4}' -%}
{%- set steps = [
    ('([?&#])([^=&#]+=' ~ phone ~ '(&|$))+', '\\1'),
    ('[?&#](([^=&#]*(e-?mail|phone|mobile)[^=&#]*|tel)=[^&#]*|[^=&#]+=[^&#]*(@|%40)[^&#]*)', ''),
    ('[^/?&=#]*(@|%40)[^/?&=#]*', ''),
    ('^([^?&#]*)&', '\\1?'),
    ('[?&]+$', ''),
] -%}
{%- set ns = namespace(sql=column) -%}
{%- for pattern, instead in steps -%}
  {%- set ns.sql = with_replaced(ns.sql, pattern, instead) -%}
{%- endfor -%}
nullif({{ ns.sql }}, '')
{%- endmacro %}
