{{ base_records('thumbtack', 'imported_leads', {
    'lead_id':      ['lead_id', 'text'],
    'full_name':    ['name', 'text'],
    'phone':        ['phone', 'text'],
    'email':        ['email', 'text'],
    'created_at':   ['created_at', 'timestamp'],
    'task':         ['task', 'text'],
    'fee_cents':    ['fee', 'money'],
    'credit_cents': ['credit', 'money'],
    'columns_json': ['columns', 'json'],
}) }}
