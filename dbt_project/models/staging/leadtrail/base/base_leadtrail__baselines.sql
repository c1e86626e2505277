{{ base_records('leadtrail', 'baselines', {
    'metric':        ['metric', 'text', 'required'],
    'month':         ['month', 'date', 'required'],
    'numerator':     ['numerator', 'text', 'required'],
    'denominator':   ['denominator', 'text', 'required'],
    'value':         ['value', 'text', 'required'],
    'definition':    ['definition', 'text', 'required'],
    'method':        ['method', 'text', 'required'],
    'joined_on':     ['joined_on', 'date', 'required'],
    'frozen_at':     ['frozen_at', 'timestamp', 'required'],
    'as_of':         ['as_of', 'timestamp', 'required'],
    'baseline_hash': ['baseline_hash', 'text', 'required'],
}) }}
