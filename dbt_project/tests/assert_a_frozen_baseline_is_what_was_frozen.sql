-- Somebody or something wrote over a frozen figure, or lost one. Data that changed after freezing is no failure: that is drift.
select client_id, min(baseline_hash) as frozen, count(distinct baseline_hash) as hashes
from {{ ref('stg_leadtrail__baselines') }}
group by client_id
having min(baseline_hash) <> max(baseline_hash)
    or min(baseline_hash) <> md5(min(method) || ';' || {{ text_list('frozen_figures', in_bytes('frozen_figures'), ';') }})
