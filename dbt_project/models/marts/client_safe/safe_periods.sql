select client_id, kind, period_start, period_end
from {{ ref('client_periods') }}
where is_over
