{{ base_records('callrail', 'companies', {
    'company_id':    ['id', 'text', 'required'],
    'company_name':  ['name', 'text'],
    'status':        ['status', 'text'],
    'time_zone':     ['time_zone', 'text'],
    'created_at':    ['created_at', 'timestamp'],
    'disabled_at':   ['disabled_at', 'timestamp'],
}) }}
