{{ base_records('leadtrail', 'identity_decisions', {
    'decision_id': ['decision_id', 'text', 'required'],
    'decision':    ['decision', 'text', 'required'],
    'key_a':       ['key_a', 'text', 'required'],
    'key_b':       ['key_b', 'text', 'required'],
    'decided_by':  ['decided_by', 'text', 'required'],
    'decided_at':  ['decided_at', 'timestamp', 'required'],
    'why':         ['why', 'text'],
}) }}
